"""CSV files that tfface writes: data for readers, with names as they are, and reports for people and spreadsheets.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@` or a tab for a formula, which may call programs. Keys
and identities come from foreign files, so `write_report` puts an apostrophe before such text. `write_table` leaves
it: what is read back must be the same key. Numbers are left alone in both.
"""

import csv
import io
import os
import re
from collections.abc import Iterable

from tfface import files

_NUMBER = re.compile(r"-|[+-]\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII)  # "-" stands for a number that is not there.
_FORMULA = ("=", "+", "-", "@", "\t")


def write_table(path: str | os.PathLike, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """Writes a CSV file that is read back, atomically.

    Args:
      path: of the file.
      header: list of str.
      rows: iterable of sequences of str, int, float or None (an empty cell).

    Raises:
      OSError: if it cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write_atomically(path, text.getvalue().encode())


def write_report(path: str | os.PathLike, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """Writes a CSV file for people as `write_table` does; text that would be a formula gets an apostrophe before it."""
    write_table(path, map(_as_text, header), (map(_as_text, row) for row in rows))


def _as_text(cell):
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\r", "\\r")  # Python's writer does not quote it, though it ends a row.
    if not cell.startswith(_FORMULA):
        return cell
    return cell if _NUMBER.fullmatch(cell) else f"'{cell}"
