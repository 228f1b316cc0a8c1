"""Where images come from: what a reader of any format offers, so that conversion and cleaning work on all of them."""

import abc
import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """An image of a source, without its bytes.

    Args:
      key: name of the image, unique in its dataset: a relative path with `/`, printable, without `..`.
      identity: name of the person.
      place: what the source needs to find the bytes again (offset, path, ...): None, a number, a string or a list of
        these.
      landmarks: x1, y1, ..., x5, y5 in pixels, or None.
    """

    key: str
    identity: str
    place: object = None
    landmarks: tuple | None = None


class Source(abc.ABC):
    """Images of one input, read in any order and by many threads.

    Attributes:
      location: the folder or file, for messages.
      skipped: list of (place, reason), both strings, of what is bad already in the index; complete after `items`.
      fingerprint: string that changes when bytes change behind the same items, such as sizes and times of the files;
        known after `items`. An interrupted conversion goes on only where it is the same.
    """

    location = "input"
    fingerprint = ""

    def __init__(self):
        self.skipped = []

    @abc.abstractmethod
    def items(self):
        """Returns an iterable of `Item`s in any order: one cheap pass over the index, no image is read."""

    @abc.abstractmethod
    def read(self, item):
        """Returns the encoded image of an item; called by many threads at once.

        Raises:
          ValueError: if the record is damaged, with the reason and no name.
          OSError: if it cannot be read.
        """

    def where(self, item):
        """Names an item in the list of bad ones; the default is its key and its place."""
        return item.key if item.place is None else f"{item.key} at {item.place}"
