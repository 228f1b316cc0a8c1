"""Packs of faces in MXNet RecordIO, in InsightFace's layout or as written by MXNet's `im2rec`.

InsightFace's layout: records 1 to N are the images, ordered by identity. Record 0 has no image and the labels
(N + 1, N + 1 + K); records N + 1 to N + K, of the K identities, have none either and as labels the index of the
identity's first image and of the one behind its last. A text file `property` holds `K,height,width`.

Identities are numbers there. Here their names are these numbers with eight digits, so that sorted by name they keep
their order, and labels 0 to K - 1 of a pack are the labels of the dataset made of it. Of several labels the first is
taken.
"""

import os
import re

from tfface.data.formats.image_files import SIGNATURE_BYTES, check_image_bytes, image_suffix
from tfface.data.formats.recordio import (
    HEAD_BYTES,
    MAX_LABELS,
    find_record,
    find_records,
    read_index,
    read_parts,
    read_record,
    unpack,
)
from tfface.data.sources.base import Item
from tfface.data.sources.file_source import MAX_BAD, FileSource
from tfface.files import open_regular

# An image record cannot be shorter: part and head.
_MIN_RECORD = 32
# Labels beyond are not exact in float32.
_MAX_LABEL = 1 << 24
_PROPERTY = re.compile(r"([1-9]\d{0,8}),([1-9]\d{0,4}),([1-9]\d{0,4})\s*", re.ASCII)


class RecordIOSource(FileSource):
    """Images of a `.rec` file.

    With an index the images are those that the index names, else all of the file. Header records are passed over.

    Args:
      path: the `.rec` file.
      index: its `.idx` file; default: the one of the same name beside it, if there is one.

    Raises:
      ValueError: by `items`, if the index or `property` is malformed or the file is no RecordIO at all.
      OSError: if a file cannot be read.
    """

    def __init__(self, path, index=None):
        super().__init__(path)
        beside = self.location.with_suffix(".idx")
        self._index = index if index is not None else beside if beside.exists() else None

    def items(self):
        """Yields the images in the order of the file, with their offsets as places."""
        self.begin()
        classes = read_property(self.location.with_name("property"))
        with open_regular(self.location) as file:
            for index, offset, parts in self._find(file, os.fstat(file.fileno()).st_size):
                try:
                    item = _item(file, index, offset, parts, classes and classes[0])
                except ValueError as error:
                    self.reject(f"byte {offset}", str(error))
                else:
                    if item:
                        yield item

    def read(self, item):
        """Returns the encoded image of an item."""
        with open_regular(self.location) as file:
            image = unpack(read_record(file, item.place, os.fstat(file.fileno()).st_size)).image
        check_image_bytes(len(image))
        return image

    def where(self, item):
        """Names the record by its offset."""
        return f"{item.key} (byte {item.place})"

    def _find(self, file, size):
        """Yields (index or None, offset, parts) of the records to look at."""
        if self._index is None:
            for offset, parts in find_records(file, size, lambda offset, reason: self.reject(f"byte {offset}", reason)):
                yield None, offset, parts
            return
        offsets = read_index(self._index, size // _MIN_RECORD + MAX_BAD)
        for index, offset in sorted(offsets.items(), key=lambda entry: entry[::-1]):
            try:
                yield index, offset, find_record(file, offset, size)[0]
            except ValueError as error:
                self.reject(f"byte {offset}", f"index {index}: {error}")


def read_property(path):
    """Reads InsightFace's file `property`.

    Args:
      path: the file.

    Returns:
      (number of identities, height, width), or None if there is no such file.

    Raises:
      ValueError: if it is malformed.
    """
    try:
        with open_regular(path) as file:
            text = file.read(100).decode("ascii")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = "no text"
    match = _PROPERTY.fullmatch(text)
    if not match:
        raise ValueError(f"{path}: expected 'identities,height,width', got {text!r}.")
    return tuple(map(int, match.groups()))


def _item(file, index, offset, parts, classes):
    """Returns the `Item` of a record, or None for a header record."""
    length = sum(length for _, length in parts) + 4 * (len(parts) - 1)
    count = int.from_bytes(read_parts(file, parts, 4), "little")
    start = HEAD_BYTES + 4 * min(count, MAX_LABELS)  # `unpack` refuses more.
    record = unpack(read_parts(file, parts, start + SIGNATURE_BYTES))
    if start == length:
        if count == 2:
            return None
        raise ValueError("a record without an image")
    label = record.labels[0]
    if not (0 <= label < (classes or _MAX_LABEL) and label == int(label)):
        raise ValueError(f"label {label:g}, expected a whole number from 0 to {(classes or _MAX_LABEL) - 1}")
    identity = f"{int(label):08d}"
    number = record.index if index is None else index
    return Item(f"{identity}/{number:08d}{image_suffix(record.image)}", identity, offset)
