"""MXNet RecordIO files: a reader and writer of `.rec` and `.idx` in pure Python, without MXNet.

A `.rec` file is a sequence of records. A record has one or more parts. Each part is the magic number, a word with 3
bits for the kind of the part (0 whole, 1 first, 2 middle, 3 last) and 29 bits for its length, then the bytes, padded
with zeros to a multiple of four. If the magic number itself occurs in a record at a multiple of four, the record is
split there and the number is left out. So a reader can find the next record after damage.

The record of an image starts with a flag, a label, an id and a second id. A flag above 0 is the number of float labels
that follow; the first of them is the identity. An `.idx` file has a line `index <tab> offset` for each record.

Reference:
  dmlc-core, `src/recordio.cc`; MXNet, `python/mxnet/recordio.py`.
"""

import contextlib
import os
import pathlib
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

from tfface.files import open_regular

MAX_RECORD_BYTES = 1 << 28
# Labels are float32, in which whole numbers are exact up to here.
MAX_EXACT_LABEL = 1 << 24

# Real files stay far below these; they bound the time and memory that crafted files can take.
_MAX_PARTS = 1 << 10
MAX_LABELS = 1 << 12

_MAGIC = struct.pack("<I", 0xCED7230A)
_PART = struct.Struct("<4sI")
_HEAD = struct.Struct("<IfQQ")
HEAD_BYTES = _HEAD.size
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_INDEX_LINE = re.compile(rb"(\d{1,18})\t(\d{1,18})\r?\n?")
_BLOCK = 1 << 20


class ImageRecord(NamedTuple):
    """The content of an image record.

    Args:
      labels: tuple of floats; the first is the number of the identity.
      index: number of the record.
      image: the encoded image; empty in the header records of InsightFace's packs.
    """

    labels: tuple[float, ...]
    index: int  # type: ignore[assignment]  # The field takes the place of the method of tuples.
    image: bytes


def pack(record: ImageRecord) -> bytes:
    """Returns the bytes of an `ImageRecord`; a single label goes into the head, as in MXNet."""
    if len(record.labels) == 1:
        return _HEAD.pack(0, record.labels[0], record.index, 0) + record.image
    count = len(record.labels)
    return _HEAD.pack(count, 0.0, record.index, 0) + struct.pack(f"<{count}f", *record.labels) + record.image


def unpack(data: bytes) -> ImageRecord:
    """Parses the bytes of a record, or their beginning, as an `ImageRecord`.

    Raises:
      ValueError: if they are too short for the head and the labels that it announces.
    """
    if len(data) < HEAD_BYTES:
        raise ValueError(f"an image record has at least {HEAD_BYTES} bytes, got {len(data)}")
    flag, label, index, _ = _HEAD.unpack_from(data)
    start = HEAD_BYTES + 4 * flag
    if flag > MAX_LABELS or start > len(data):
        raise ValueError(f"{flag} labels are announced; at most {MAX_LABELS} are read, and the record must hold them")
    labels = struct.unpack_from(f"<{flag}f", data, HEAD_BYTES) if flag else (label,)
    return ImageRecord(labels, index, data[start:])


def identity_of_label(label: float, limit: int = MAX_EXACT_LABEL) -> str:
    """Names the identity of a label: its number with eight digits, so that names sort as numbers do.

    Args:
      label: the label as stored.
      limit: number of labels.

    Returns:
      The name.

    Raises:
      ValueError: if the label is not a whole number in [0, limit); the message is a reason without a name.
    """
    if not (0 <= label < limit and label == int(label)):
        raise ValueError(f"label {label:g}, expected a whole number from 0 to {limit - 1}")
    return f"{int(label):08d}"


def find_record(file: BinaryIO, offset: int, size: int) -> tuple[list[tuple[int, int]], int]:
    """Locates the parts of a record without reading them.

    Args:
      file: the `.rec`, a binary file object.
      offset: start of the record in bytes.
      size: size of the file in bytes.

    Returns:
      List of (start, length) of the parts, and the offset after the record.

    Raises:
      ValueError: if there is no complete record; the message is a reason without the name of the file.
    """
    parts: list[tuple[int, int]] = []
    total = 0
    while True:
        file.seek(offset)
        head = file.read(_PART.size)
        if len(head) < _PART.size:
            raise ValueError(f"the file ends within a record, at byte {offset + len(head)} of {size}")
        magic, word = _PART.unpack(head)
        kind, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        if magic != _MAGIC or kind not in ((_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)):
            raise ValueError(f"no {'further part' if parts else 'record'} at byte {offset}")
        start, padded = offset + _PART.size, length + -length % 4
        if start + padded > size:
            raise ValueError(f"a part of {length} bytes at byte {offset} goes beyond the end of the file at {size}")
        parts.append((start, length))
        total += length
        if total > MAX_RECORD_BYTES or len(parts) > _MAX_PARTS:
            raise ValueError(f"a record of more than {MAX_RECORD_BYTES >> 20} MB or {_MAX_PARTS} parts")
        offset = start + padded
        if kind in (_WHOLE, _LAST):
            return parts, offset


def read_record(file: BinaryIO, offset: int, size: int) -> bytes:
    """Reads a whole record; arguments and errors are those of `find_record`."""
    return read_parts(file, find_record(file, offset, size)[0])


def read_parts(file: BinaryIO, parts: Iterable[tuple[int, int]], limit: int | None = None) -> bytes:
    """Returns the bytes of a record, or the first `limit` of them, given its parts."""
    pieces, total = [], 0
    for start, length in parts:
        file.seek(start)
        pieces.append(file.read(length if limit is None else min(length, limit)))
        total += len(pieces[-1])
        if limit is not None and total >= limit:
            break
    return _MAGIC.join(pieces)[:limit]


def find_records(
    file: BinaryIO, size: int, reject: Callable[[int, str], object]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Locates all records of a file, in one pass that reads only their heads.

    Args:
      file: the `.rec`, a binary file object.
      size: size of the file in bytes.
      reject: callback of (offset, reason) for each damaged position, which is skipped.

    Yields:
      (offset, parts) of each record.
    """
    offset = 0
    while offset < size:
        try:
            parts, end = find_record(file, offset, size)
        except ValueError as error:
            reject(offset, str(error))
            offset = _next_magic(file, offset + 4, size)
        else:
            yield offset, parts
            offset = end


def _next_magic(file, offset, size):
    """Returns the next offset, a multiple of four, at which a record may start; the size if there is none."""
    offset -= offset % 4
    while offset < size:
        file.seek(offset)
        block = file.read(_BLOCK + _PART.size)
        at = block.find(_MAGIC)
        while 0 <= at < _BLOCK:
            if at % 4 == 0 and at + _PART.size <= len(block) and block[at + 7] >> 5 in (_WHOLE, _FIRST):
                return offset + at
            at = block.find(_MAGIC, at + 1)
        offset += _BLOCK
    return size


def read_index(path: str | os.PathLike, limit: int) -> dict[int, int]:
    """Reads an `.idx` file.

    Args:
      path: the file.
      limit: largest number of lines, as the size of its `.rec` allows.

    Returns:
      Dict from index to offset, for `read_record`.

    Raises:
      ValueError: if a line is malformed, an index occurs twice, or there are too many lines.
      OSError: if it cannot be read.
    """
    offsets: dict[int, int] = {}
    with open_regular(path) as file:
        number = 0
        while line := file.readline(64):
            number += 1
            match = _INDEX_LINE.fullmatch(line)
            if not match or int(match[1]) in offsets or number > limit:
                expected = "'index<tab>offset'" if not match else f"at most {limit} lines, no index twice"
                raise ValueError(f"{path}, line {number}: expected {expected}, got {line!r}.")
            offsets[int(match[1])] = int(match[2])
    return offsets


@contextlib.contextmanager
def open_writer(path: pathlib.Path) -> Iterator[Callable[[int, bytes], None]]:
    """Opens a `.rec` and, beside it, its `.idx` for writing.

    Args:
      path: path of the `.rec`.

    Returns:
      Context manager; its value is a function of (index, bytes) that appends a record.

    Raises:
      OSError: if a file cannot be written.
    """
    with open(path, "wb") as file, open(path.with_suffix(".idx"), "w", encoding="ascii", newline="\n") as index_file:

        def write(index, data):
            if len(data) > MAX_RECORD_BYTES:
                raise ValueError(f"a record has at most {MAX_RECORD_BYTES >> 20} MB, got {len(data)} bytes.")
            index_file.write(f"{index}\t{file.tell()}\n")
            parts = list(_cut(data))
            for number, part in enumerate(parts):
                kind = _WHOLE if len(parts) == 1 else {0: _FIRST, len(parts) - 1: _LAST}.get(number, _MIDDLE)
                file.write(_PART.pack(_MAGIC, kind << _LENGTH_BITS | len(part)) + part)
            file.write(bytes(-len(data) % 4))

        yield write


def _cut(data):
    """Yields the pieces between the magic numbers that lie at multiples of four."""
    start = 0
    at = data.find(_MAGIC)
    while at >= 0:
        if at % 4 == 0:
            yield data[start:at]
            start = at + len(_MAGIC)
        at = data.find(_MAGIC, at + 1)
    yield data[start:]
