"""The interface of all sources of images; conversion and cleaning work on any of them."""

import abc
import dataclasses
import os
import types
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """An image of a source, without its bytes.

    Args:
      key: name of the image, unique in its dataset: a relative path with `/`, printable, without `..`.
      identity: name of the person.
      place: location of the bytes for the source (offset, path, ...): None, a finite number, text or a list of these.
      landmarks: x1, y1, ..., x5, y5 in pixels, or None.
    """

    key: str
    identity: str
    place: Any = None
    landmarks: tuple[float, ...] | None = None


def file_state(path: str | os.PathLike | int) -> tuple[int, int]:
    """Returns size and modification time (in nanoseconds) of a file or descriptor, for a source's fingerprint."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def upright(data: bytes) -> bytes:
    """Returns an image file turned upright by `tfface.data.upright`; all sources of foreign files read through it."""
    # Imported here, because listing files needs no TensorFlow.
    from tfface.data.images import decoding

    return decoding.upright(data)


class Source(abc.ABC):
    """Images of one input; they can be read in any order and by many threads.

    Attributes:
      location: the folder or file, for messages.
      skipped: list of (place, reason) of bad entries of the index; complete after `items`.
      passed_over: number of entries of the index that are no images, by kind; complete after `items`.
      fingerprint: string that changes when the bytes behind the same items change, such as sizes and times of the
        files; known after `items`. An interrupted conversion continues only if it is unchanged.
      cut_off: set of the keys of the images read so far that have more than a tenth of their pixels outside of the
        photographs that they are made from. A conversion adds those that other processes, or interrupted calls, read.
    """

    # Typed as Any, because some sources store these and others compute them as properties.
    location: Any = "input"
    fingerprint: Any = ""
    skipped: Any
    passed_over: Any = types.MappingProxyType({})
    cut_off: Any = frozenset()

    def __init__(self):
        self.skipped = []

    @abc.abstractmethod
    def items(self) -> Iterable[Item]:
        """Returns the `Item`s in any order, in one cheap pass over the index that reads no image."""

    @abc.abstractmethod
    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item; many threads may call it at once.

        Raises:
          ValueError: if the record is damaged; the message is a reason without a name.
          OSError: if it cannot be read.
        """

    def where(self, item: Item) -> str:
        """Names an item for messages about bad images; by default by its key and its place."""
        return item.key if item.place is None else f"{item.key} at {item.place}"
