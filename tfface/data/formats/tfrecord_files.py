"""The framing of TFRecord files: reads records by their offset and verifies every checksum.

A record is its length (8 bytes, little endian), a checksum of the length, the data, and a checksum of the data.
TensorFlow's own reader stops at the first damaged record of a file. It also allocates any length that a forged file
states, which can end the process. So `count_records` checks all files before TensorFlow opens them.
"""

import os
import struct
from collections.abc import Iterable, Iterator

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_MAX_BYTES = 1 << 29  # Twice the largest image.
# Reading a file in large blocks is faster than seeking to the header of every small record.
_BUFFER = 1 << 20
_SMALL_BUFFER = 1 << 13  # For a single record.


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
    return sum(1 for _ in record_offsets(path))


def record_offsets(path: str | os.PathLike) -> Iterator[int]:
    """Finds the records of a TFRecord file by their lengths, without reading their data.

    Args:
      path: as for `count_records`.

    Yields:
      Start of each record in bytes.

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
            yield offset
            offset += _HEADER.size + length + _FOOTER.size
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
            offset += _HEADER.size + length + _FOOTER.size


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
    if length > end - offset - _HEADER.size - _FOOTER.size:
        raise ValueError(f"a record of {length} bytes goes beyond the end of the file")
    if length > _MAX_BYTES:
        raise ValueError(f"a record of {length} bytes is longer than {_MAX_BYTES >> 20} MB")
    return length


def _read_data(file, length):
    data, checksum = file.read(length), file.read(_FOOTER.size)
    if checksum != _FOOTER.pack(_masked_checksum(data)):
        raise ValueError("the data of a record do not match their checksum")
    return data


def _masked_checksum(data):
    checksum = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
