"""InsightFace's `.bin` verification sets: a pickle of (encoded images, booleans), two images per boolean.

The file says which pairs are genuine, and nothing else about identities. So the identity of an image is named after the
first image of its genuine pair, or after the image itself. Two identities may be one person, and evaluation must use
the pairs.
"""

import os
from collections.abc import Iterator

import numpy as np

from tfface.data.formats.image_files import SIGNATURE_BYTES, check_image_bytes, image_suffix
from tfface.data.formats.plain_pickle import Span, load_plain
from tfface.data.protocols.pairs import Pairs, pairs_of_list
from tfface.data.sources.base import Item, upright
from tfface.data.sources.file_source import FileSource
from tfface.files import open_regular


class BinSource(FileSource):
    """Images of a `.bin` file; `pairs` returns their pairs.

    Args:
      path: the file.

    Raises:
      ValueError: by `items` and `pairs`, if the file is not such a set. Nothing in it is ever executed.
      OSError: if it cannot be read.
    """

    def items(self) -> Iterator[Item]:
        """Yields the images in the order of the file; their keys are their indices."""
        keys, images, same = self._load()
        for number, (key, image) in enumerate(zip(keys, images, strict=True)):
            first = number - number % 2 if same[number // 2] else number
            yield Item(key, f"{first:06d}", list(image))

    def pairs(self) -> Pairs:
        """Returns the `Pairs`, in ten folds: consecutive tenths of the genuine and of the impostor pairs.

        If a kind has fewer than ten pairs, there are as many folds as it has pairs.
        """
        keys, _, same = self._load()
        counts = [count for count in (sum(same), len(same) - sum(same)) if count]
        fold = _folds(np.array(same), min(10, *counts))
        return pairs_of_list(self.location, keys[::2], keys[1::2], same, fold)

    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item, turned upright."""
        offset, length, coding = item.place
        check_image_bytes(length)
        with open_regular(self.location) as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) < length:
            raise ValueError(f"the file ends within the image, at byte {offset + len(data)}")
        return upright(Span(offset, length, coding).decode(data))

    def where(self, item: Item) -> str:
        """Names the image by its offset."""
        return f"{item.key} (byte {item.place[0]})"

    def _load(self):
        """Returns keys and `Span`s of the images, and a list of bool."""
        self.begin()
        with open_regular(self.location) as file:
            try:
                images, same = _check(load_plain(file, os.fstat(file.fileno()).st_size))
            except ValueError as error:
                raise ValueError(f"{self.location}: {error}.") from None
            keys = []
            for number, image in enumerate(images):
                file.seek(image.offset)
                # A part of coded bytes may end within a character, so these are read as a whole.
                start = file.read(image.length if image.coding else min(SIGNATURE_BYTES, image.length))
                keys.append(f"{number:06d}{image_suffix(image.decode(start)[:SIGNATURE_BYTES])}")
        return keys, images, same


def _folds(same, number):
    """Splits the genuine and the impostor pairs into as many folds."""
    fold = np.empty(len(same), dtype=np.int64)
    for members in (np.flatnonzero(same), np.flatnonzero(~same)):
        fold[members] = np.arange(len(members)) * number // max(1, len(members))
    return fold


def _check(value):
    """Returns the images and booleans of an unpickled set."""
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, list) for part in value)):
        raise ValueError("expected a pickle of (list of images, list of booleans)")
    images, same = value
    if not same or len(images) != 2 * len(same):
        raise ValueError(f"expected two images per boolean, got {len(images)} images and {len(same)} booleans")
    if not all(type(image) is Span for image in images):
        raise ValueError("expected images as bytes, got something else among them")
    if not all(type(one) in (bool, int) and one in (0, 1) for one in same):
        raise ValueError("expected booleans, got something else among them")
    return images, [bool(one) for one in same]
