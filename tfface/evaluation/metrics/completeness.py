"""How much of a protocol was measured."""

from collections.abc import Iterable
from typing import NamedTuple

EXAMPLES = 3


class Completeness(NamedTuple):
    """How many pairs of an official list have both images, or how many of its images or templates there are.

    Attributes:
      pairs: int, number of pairs of the whole list.
      missing: int, number of them that lack an image.
      examples: tuple of str, a few of the absent images.
      noun: str, what is counted.
    """

    pairs: int
    missing: int
    examples: tuple[str, ...]
    noun: str = "pairs"

    def __str__(self) -> str:
        if not self.missing:
            return f"all {self.pairs} {self.noun}"
        those = "those of " if self.noun == "pairs" else ""
        such = f", such as {those}{such_as(self.examples)}" if self.examples else ""
        return f"{self.missing} of {self.pairs} {self.noun} missing{such}"


def such_as(names: Iterable[str]) -> str:
    """Formats a few names as "'a', 'b' and 'c'"; characters that cannot be printed are escaped."""
    *most, last = map(repr, names)
    return f"{', '.join(most)} and {last}" if most else last
