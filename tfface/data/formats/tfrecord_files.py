"""The framing of TFRecord files: records by their offset, every byte covered by a checksum that is verified.

A record is its length (8 bytes, little endian), a checksum of these, the data, and a checksum of the data. TensorFlow's
own reader gives up a file at its first damaged record, and reserves whatever length a forged file asks for, which ends
the process. So `count_records` comes before it, wherever records are opened.
"""

import struct

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_MAX_BYTES = 1 << 29  # Twice the largest image.
# A disk reads a file in one go faster than the header of every small record by itself.
_BUFFER = 1 << 20


class RestLost(ValueError):
    """The length of a record is wrong, so that nothing tells where the next one starts."""


def count_records(path: str) -> int:
    """Counts the records of a TFRecord file by their lengths; their data are passed over.

    Args:
      path: the file, not compressed; also of another file system that `tf.io.gfile` knows, such as `gs://`.

    Returns:
      int >= 0. TensorFlow may read the file: no length in it goes beyond the file or the limit.

    Raises:
      ValueError: if a length or its checksum is wrong; the message names the file, the record and its place.
      OSError, tf.errors.OpError: if the file cannot be read.
    """
    with _open(path) as file:
        count, offset, end = 0, 0, _size(file)
        while offset < end:
            try:
                length = _read_length(file, offset, end)
            except ValueError as error:
                raise ValueError(f"{path}: record {count} at byte {offset}: {error}.") from None
            offset += _HEADER.size + length + _FOOTER.size
            count += 1
    return count


def scan_records(path):
    """Reads a TFRecord file from beginning to end, going on after a damaged record where its length is known.

    Args:
      path: as for `count_records`.

    Yields:
      (offset, data): the place of a record in bytes and its content, or the ValueError of `read_record` in its place;
        the last one is `RestLost` where the rest of the file cannot be read.

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


def read_record(path, offset):
    """Reads one record of a TFRecord file.

    Args:
      path: as for `count_records`.
      offset: int, where the record starts, in bytes.

    Returns:
      Its data, bytes.

    Raises:
      ValueError: if a checksum is wrong or the file ends within the record; the reason without a file name.
      OSError, tf.errors.OpError: if the file cannot be read.
    """
    with _open(path) as file:
        return _read_data(file, _read_length(file, offset, _size(file)))


def read_records(path, offsets):
    """Reads the records of a TFRecord file that start at the given offsets: arguments and errors as of `read_record`.

    Yields:
      The data of each, bytes.
    """
    with _open(path) as file:
        end = _size(file)
        for offset in offsets:
            yield _read_data(file, _read_length(file, offset, end))


def _open(path):
    if "://" not in str(path):
        return open(path, "rb", buffering=_BUFFER)
    # Imported here, because local files are read without TensorFlow.
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
    # The length of a forged record has a good checksum too: no memory is asked for that the file cannot fill, or a
    # sparse file fills with nothing.
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
