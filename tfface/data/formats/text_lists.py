"""Readers of published text lists: their size is bounded, and errors name the file and the line."""

import codecs
import contextlib
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pandas as pd

from tfface.files import open_regular, read_regular, short_reason

# Twice the size of MegaFace's list of a million images; a wrong file must not fill the memory.
_MAX_BYTES, _MAX_LINES = 128 << 20, 1 << 22
# The pairs of IJB-C take 0.2 GB.
_MAX_TABLE_BYTES, _MAX_FIRST_LINE, _CSV_CHUNK = 1 << 29, 1 << 12, 1 << 14
_MAX_PATH = 1024

BAD_NAME = "a name with a control character, or that is not UTF-8"
NUMBER = r"([1-9]\d{0,6})"
# A path that stays in its folder (no root, no hidden part, no `..`), without spaces and commas.
PATH = r"([^\s,/\\.][^\s,/\\]*(?:/[^\s,/\\.][^\s,/\\]*)*)"


def read_lines(path: str | os.PathLike) -> list[str]:
    """Returns the lines of a text file without line ends; blank lines at the end of the file are dropped.

    Raises:
      ValueError: if the file is not text, or is too large.
      OSError: if it cannot be read.
    """
    data = read_regular(path, _MAX_BYTES)
    if data.count(b"\n") > _MAX_LINES:
        raise ValueError(f"{path}: a list has at most {_MAX_LINES} lines, got more.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file ({_not_utf8(io.BytesIO(data))}).") from None
    return [line.rstrip() for line in text.rstrip().split("\n")] if text.strip() else []


def parse_lines(
    path: str | os.PathLike,
    pattern: "re.Pattern[str] | Columns",
    expected: str,
    lines: Iterable[str] | None = None,
    start: int = 1,
) -> Iterator[tuple[int, re.Match[str]]]:
    """Yields (line number, match) for each line; the pattern must match the whole line.

    Args:
      path: path of the file, for messages.
      pattern: compiled regular expression.
      expected: description of the pattern, for messages.
      lines: the lines; default: those of the file.
      start: number of the first line.

    Raises:
      ValueError: for the first line that does not match.
    """
    for number, line in enumerate(read_lines(path) if lines is None else lines, start=start):
        match = pattern.fullmatch(line)
        if not match:
            raise malformed(path, number, line, expected)
        yield number, match


def is_name(text: str) -> bool:
    """Whether untrusted text can be a name: any characters except for control characters and lone surrogates."""
    return bool(text) and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def check_path(path: str) -> str:
    """Checks that an untrusted path, from a list or an archive, stays below its folder.

    Args:
      path: relative path with `/`.

    Returns:
      The path as given.

    Raises:
      ValueError: if it is absolute, has an empty part, `.` or `..` or a control character, or is too long.
    """
    if len(path) > _MAX_PATH or not is_name(path) or "\\" in path:
        raise ValueError(
            f"expected a path with '/' of at most {_MAX_PATH} characters and no control characters, got {path[:200]!r}"
        )
    if not all(part.strip(".") for part in path.split("/")) or path[1:2] == ":":
        raise ValueError(f"expected a path that stays below its folder, got {path[:200]!r}")
    return path


def malformed(path: str | os.PathLike, number: int, line: str, expected: str) -> ValueError:
    """Returns the ValueError for a malformed line of a list."""
    return ValueError(f"{path}, line {number}: expected {expected}, got {line[:200]!r}.")


def compile_line(pattern: str) -> re.Pattern[str]:
    """Compiles the pattern of a line; only ASCII digits count as digits."""
    return re.compile(pattern, re.ASCII)


class Columns:
    """Pattern of a line in columns, which tabs separate if the line has any, else spaces; names between tabs may hold
    spaces.

    Args:
      *columns: regular expressions, such as `NUMBER` and `PATH`.
    """

    def __init__(self, *columns: str):
        self._spaces = compile_line(r"\s+".join(columns))
        self._tabs = compile_line("\t".join(columns).replace(r"[^\s,", r"[^\t").replace(r"[^\s", r"[^\t"))

    def fullmatch(self, line: str) -> re.Match[str] | None:
        """Matches a whole line, like the method of a pattern."""
        return self._tabs.fullmatch(line) if "\t" in line else self._spaces.fullmatch(line)


def read_csv(path: str | os.PathLike, tabs: bool = False) -> Iterator[tuple[str, ...]]:
    """Reads a CSV file in chunks, so that only a part of it is in memory.

    Args:
      path: path of the file.
      tabs: whether tabs separate the fields if the first line holds any, and blank lines are rows of empty fields.

    Yields:
      Tuple of strings for each row, the header first; all are as long as the header.

    Raises:
      ValueError: if the file is not text, is too large, has no header, or a row has too many fields.
      OSError: if it cannot be read.
    """
    with open_table(path) as (file, header):
        if not header.strip() or header.count(b'"') % 2:
            raise ValueError(f"{path}: expected the names of columns in the first line, got {header[:200]!r}.")
        try:
            # Given a header, pandas would take the first field of longer rows for an index.
            separator = "\t" if tabs and b"\t" in header else ","
            for chunk in pd.read_csv(
                file,
                sep=separator,
                header=None,
                skip_blank_lines=not tabs,
                dtype=str,
                keep_default_na=False,
                chunksize=_CSV_CHUNK,
            ):
                yield from chunk.itertuples(index=False, name=None)
        except UnicodeDecodeError:
            file.seek(0)
            raise ValueError(f"{path}: not a valid CSV table ({_not_utf8(file)}).") from None
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{path}: not a valid CSV table ({short_reason(error)}).") from error


def _not_utf8(file):
    """Says which line of a binary file is not UTF-8."""
    decoder, number, line = codecs.getincrementaldecoder("utf-8")(), 1, b""
    try:
        while line := file.readline(_MAX_FIRST_LINE):
            decoder.decode(line)
            number += line.endswith(b"\n")
    except UnicodeDecodeError:
        pass
    return f"line {number} is not UTF-8: {line[:100]!r}; save the list as UTF-8"


@contextlib.contextmanager
def open_table(path: str | os.PathLike) -> Iterator[tuple[BinaryIO, bytes]]:
    """Opens a table, unless it is so large that it would fill the memory.

    Returns:
      Context manager; its value is (binary file object at its start, first line).

    Raises:
      ValueError: if the file is too large, or its first line too long.
      OSError: if it cannot be read.
    """
    with open_regular(path, _MAX_TABLE_BYTES) as file:
        line = file.readline(_MAX_FIRST_LINE + 1)
        # The length of the line bounds the number of columns, for which pandas reserves memory.
        if len(line) > _MAX_FIRST_LINE:
            raise ValueError(f"{path}: expected a first line of at most {_MAX_FIRST_LINE} bytes, got {line[:200]!r}...")
        file.seek(0)
        yield file, line
