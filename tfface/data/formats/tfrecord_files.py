"""The framing of TFRecord files: reads records by their offset and verifies every checksum.

A record is its length (8 bytes, little endian), a checksum of the length, the data, and a checksum of the data.
TensorFlow's own reader stops at the first damaged record of a file. It also allocates any length that a forged file
states, which can end the process. So `count_records` checks all files before TensorFlow opens them.
"""

import io
import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
FRAME_BYTES = _HEADER.size + _FOOTER.size  # What a record takes in the file beside its data.
_MAX_BYTES = 1 << 29  # Twice the largest image.
# Reading a file in large blocks is faster than seeking to the header of every small record.
_BUFFER = 1 << 20
_SMALL_BUFFER = 1 << 13  # For a single record.
WRONG_DATA = "the data of a record do not match their checksum"


class RestLost(ValueError):
    """The length of a record is wrong, so the start of the next record is unknown."""


def count_records(path: str | os.PathLike) -> int:
    """Counts the records of a TFRecord file by their lengths, without reading their data.

    Args:
      path: the file, not compressed; it may be on another file system of `tf.io.gfile`, such as `gs://`.

    Returns:
      int >= 0. The file is then safe for TensorFlow: no length in it exceeds the file or the limit.

    Raises:
      ValueError: if a length or its checksum is wrong; the message names the file, the record and its offset.
      OSError, tf.errors.OpError: if the file cannot be read.
    """
    return sum(1 for _ in record_lengths(path))


def record_lengths(path: str | os.PathLike) -> Iterator[int]:
    """Reads the lengths of the records of a TFRecord file, without their data.

    Args:
      path: as for `count_records`.

    Yields:
      Number of bytes in the data of each record; it takes `FRAME_BYTES` more in the file.

    Raises:
      ValueError, OSError, tf.errors.OpError: as `count_records`.
    """
    with _open(path) as file:
        count, offset, end = 0, 0, _size(file)
        while offset < end:
            try:
                length = _read_length(file, offset, end)
            except ValueError as error:
                raise ValueError(f"{path}: record {count} at byte {offset}: {error}.") from None
            yield length
            offset += length + FRAME_BYTES
            count += 1


def scan_records(path: str | os.PathLike) -> Iterator[tuple[int, bytes | ValueError]]:
    """Reads a TFRecord file from start to end; it continues after a damaged record if the record's length is intact.

    Args:
      path: as for `count_records`.

    Yields:
      (offset, data): the offset of a record in bytes and its content, or the ValueError of `read_record` instead. The
        last one is `RestLost` if the rest of the file cannot be read.

    Raises:
      OSError, tf.errors.OpError: if the file cannot be read.
    """
    with _open(path) as file:
        offset, end = 0, _size(file)
        while offset < end:
            try:
                length = _read_length(file, offset, end)
            except ValueError as error:
                yield offset, RestLost(f"{error}; the {end - offset} bytes from here to the end are lost")
                return
            try:
                yield offset, _read_data(file, length)
            except ValueError as error:
                yield offset, error
            offset += length + FRAME_BYTES


def read_record(path: str | os.PathLike, offset: int) -> bytes:
    """Reads one record of a TFRecord file.

    Args:
      path: as for `count_records`.
      offset: start of the record in bytes.

    Returns:
      Its data.

    Raises:
      ValueError: if a checksum is wrong or the file ends within the record; the message is a reason without a file
        name.
      OSError, tf.errors.OpError: if the file cannot be read.
    """
    with _open(path, _SMALL_BUFFER) as file:
        return _read_data(file, _read_length(file, offset, _size(file)))


def read_records(path: str | os.PathLike, offsets: Iterable[int]) -> Iterator[bytes]:
    """Reads the records of a TFRecord file at the given offsets; raises as `read_record` does.

    Yields:
      The data of each record.
    """
    with _open(path) as file:
        end = _size(file)
        for offset in offsets:
            yield _read_data(file, _read_length(file, offset, end))


def read_runs(path: str | os.PathLike, runs: Iterable[tuple[int, Sequence[int]]]) -> Iterator[bytes]:
    """Reads records of a TFRecord file, those that follow each other in one piece.

    Args:
      path: as for `count_records`.
      runs: pairs of the start of the first record in bytes, and the number of bytes in the data of this and of each
        record after it; no other bytes of the file are read.

    Yields:
      The data of each record.

    Raises:
      ValueError: if a checksum is wrong or a record has another length; the message names the file and the offset.
      OSError, tf.errors.OpError: if the file cannot be read.
    """
    with _open(path, 0) as file:  # Without a buffer, which would read more than is asked for.
        for start, lengths in runs:
            run = _read_bytes(file, start, sum(lengths) + len(lengths) * FRAME_BYTES)
            begin = 0
            for length in lengths:
                # This runs for every image of a training, so what is wrong is asked only where something is.
                end = begin + _HEADER.size + length
                data = run[begin + _HEADER.size : end]
                stated, checksum = run[begin : begin + _HEADER.size], run[end : end + _FOOTER.size]
                if stated != _header(length) or checksum != _footer(data):
                    raise ValueError(f"{path}: the record at byte {start + begin}: {_fault(stated, length)}.")
                yield data
                begin = end + _FOOTER.size


def _fault(header, length):
    """Says what is wrong with a record that has this header and should have this length."""
    try:
        found = _read_length(io.BytesIO(header), 0, math.inf)
    except ValueError as error:
        return error
    if found == length:
        return WRONG_DATA
    return f"it has {found} bytes, but the index of its dataset states {length}"


def _read_bytes(file, offset, count):
    file.seek(offset)
    data = file.read(count)
    # A network file system may give less at a time.
    while len(data) < count and (more := file.read(count - len(data))):
        data += more
    return data


def _open(path, buffering=_BUFFER):
    if "://" not in str(path):
        return open(path, "rb", buffering=buffering)
    # Imported here, because local files do not need TensorFlow.
    from tensorflow.io.gfile import GFile

    return GFile(str(path), "rb")


def _size(file):
    file.seek(0, 2)
    return file.tell()


def _read_length(file, offset, end):
    file.seek(offset)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise ValueError("the file ends within the header of a record")
    length, checksum = _HEADER.unpack(header)
    if checksum != _masked_checksum(header[:8]):
        raise ValueError("the length of a record does not match its checksum")
    # A forged length can have a valid checksum. So the length must fit in the file, and, because a sparse file may
    # claim any size, stay below a limit.
    if length > end - offset - FRAME_BYTES:
        raise ValueError(f"a record of {length} bytes goes beyond the end of the file")
    if length > _MAX_BYTES:
        raise ValueError(f"a record of {length} bytes is longer than {_MAX_BYTES >> 20} MB")
    return length


def _read_data(file, length):
    data, checksum = file.read(length), file.read(_FOOTER.size)
    if checksum != _footer(data):
        raise ValueError(WRONG_DATA)
    return data


def _header(length):
    stated = length.to_bytes(8, "little")
    return stated + _footer(stated)


def _footer(data):
    return _FOOTER.pack(_masked_checksum(data))


def _masked_checksum(data):
    checksum = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
