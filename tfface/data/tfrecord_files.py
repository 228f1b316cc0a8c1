"""The framing of TFRecord files: records by their offset, every byte covered by a checksum that is verified.

A record is its length (8 bytes, little endian), a checksum of these, the data, and a checksum of the data. TensorFlow's
own reader gives up a file at its first damaged record, and reserves whatever length a forged file asks for.
"""

import struct

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_MAX_BYTES = 1 << 29  # Twice the largest image.


def scan_records(path):
    """Reads a TFRecord file from beginning to end, going on after a damaged record where its length is known.

    Args:
      path: the file, not compressed.

    Yields:
      (offset, data): the place of a record in bytes and its content, or the ValueError of `read_record` in its place.

    Raises:
      OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        offset, end = 0, file.seek(0, 2)
        while offset < end:
            try:
                length = _read_length(file, offset, end)
            except ValueError as error:
                yield offset, ValueError(f"{error}; the {end - offset} bytes from here to the end are lost")
                return
            try:
                yield offset, _read_data(file, length)
            except ValueError as error:
                yield offset, error
            offset += _HEADER.size + length + _FOOTER.size


def read_record(path, offset):
    """Reads one record of a TFRecord file.

    Args:
      path: the file, not compressed.
      offset: int, where the record starts, in bytes.

    Returns:
      Its data, bytes.

    Raises:
      ValueError: if a checksum is wrong or the file ends within the record; the reason without a file name.
      OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        return _read_data(file, _read_length(file, offset, file.seek(0, 2)))


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
