"""How much of an official list of pairs was measured."""

from collections.abc import Iterable
from typing import NamedTuple

EXAMPLES = 3


class Completeness(NamedTuple):
    """How many pairs of an official list have both images.

    Attributes:
      pairs: int, number of pairs of the whole list.
      missing: int, number of them that lack an image.
      examples: tuple of str, a few of the absent images.
    """

    pairs: int
    missing: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        if not self.missing:
            return f"all {self.pairs} pairs"
        return f"{self.missing} of {self.pairs} pairs missing, such as those of {such_as(self.examples)}"


def such_as(names: Iterable[str]) -> str:
    """Formats a few names as "'a', 'b' and 'c'"; characters that cannot be printed are escaped."""
    *most, last = map(repr, names)
    return f"{', '.join(most)} and {last}" if most else last
