"""Packs of faces in MXNet RecordIO, in InsightFace's layout or as written by MXNet's `im2rec`, as a source.

In InsightFace's layout, records 1 to N are the images, ordered by identity. Header records have no image. Record 0 is
one, with the labels (N + 1, N + 1 + K). Records N + 1 to N + K are the others, one per identity; their labels are the
index of the identity's first image and the index after its last. A text file `property` holds `K,height,width`.

A pack numbers its identities. Their names are these numbers with eight digits, so that sorting by name keeps the order,
and labels 0 to K - 1 of a pack are also the labels of its dataset. If a record has several labels, the first is used.
"""

import os
import re
from collections.abc import Iterator

from tfface.data.formats.image_files import SIGNATURE_BYTES, check_image_bytes, image_suffix
from tfface.data.formats.recordio import (
    HEAD_BYTES,
    MAX_EXACT_LABEL,
    MAX_LABELS,
    find_record,
    find_records,
    identity_of_label,
    read_index,
    read_parts,
    read_record,
    unpack,
)
from tfface.data.sources.base import Item, upright
from tfface.data.sources.file_source import MAX_BAD, FileSource
from tfface.files import open_regular

# No image record is shorter: it has a part and a head.
_MIN_RECORD = 32

_PROPERTY = re.compile(r"([1-9]\d{0,8}),([1-9]\d{0,4}),([1-9]\d{0,4})\s*", re.ASCII)


class RecordIOSource(FileSource):
    """Images of a `.rec` file.

    With an index, only the images listed there are used, otherwise all of the file. Header records are skipped.

    Args:
      path: the `.rec` file.
      index: its `.idx` file; default: the one with the same name beside it, if present.

    Raises:
      ValueError: by `items`, if the index or `property` is malformed, or the file is not RecordIO at all.
      OSError: if a file cannot be read.
    """

    def __init__(self, path: str | os.PathLike, index: str | os.PathLike | None = None):
        super().__init__(path)
        beside = self.location.with_suffix(".idx")
        self._index = index if index is not None else beside if beside.exists() else None

    def items(self) -> Iterator[Item]:
        """Yields the images in the order of the file; the place of an item is its offset."""
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

    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item, turned upright."""
        with open_regular(self.location) as file:
            image = unpack(read_record(file, item.place, os.fstat(file.fileno()).st_size)).image
        check_image_bytes(len(image))
        return upright(image)

    def where(self, item: Item) -> str:
        """Names the record by its offset."""
        return f"{item.key} (byte {item.place})"

    def _find(self, file, size):
        """Yields (index or None, offset, parts) for the records to use."""
        if self._index is None:
            for offset, parts in find_records(file, size, lambda offset, reason: self.reject(f"byte {offset}", reason)):
                yield None, offset, parts
            return
        offsets = read_index(self._index, size // _MIN_RECORD + MAX_BAD)
        for index, offset in sorted(offsets.items(), key=lambda entry: entry[::-1]):
            try:
                yield index, offset, find_record(file, offset, size)[0]
            except ValueError as error:
                self.reject(f"byte {offset} (index {index})", str(error))


def read_property(path: str | os.PathLike) -> tuple[int, int, int] | None:
    """Reads InsightFace's file `property`.

    Args:
      path: the file.

    Returns:
      (number of identities, height, width), or None if the file does not exist.

    Raises:
      ValueError: if it is malformed.
    """
    try:
        with open_regular(path) as file:
            text = file.read(100).decode("ascii")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = "binary data"
    match = _PROPERTY.fullmatch(text)
    if not match:
        raise ValueError(f"{path}: expected 'identities,height,width', got {text!r}.")
    identities, height, width = map(int, match.groups())
    return identities, height, width


def _item(file, index, offset, parts, classes):
    """Returns the `Item` of a record, or None for a header record."""
    length = sum(length for _, length in parts) + 4 * (len(parts) - 1)
    count = int.from_bytes(read_parts(file, parts, 4), "little")
    start = HEAD_BYTES + 4 * min(count, MAX_LABELS)  # `unpack` refuses more labels.
    record = unpack(read_parts(file, parts, start + SIGNATURE_BYTES))
    if start == length:
        if count == 2:
            return None
        raise ValueError("a record without an image")
    identity = identity_of_label(record.labels[0], classes or MAX_EXACT_LABEL)
    number = record.index if index is None else index
    return Item(f"{identity}/{number:08d}{image_suffix(record.image)}", identity, offset)
