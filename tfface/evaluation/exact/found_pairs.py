"""Pairs whose scores reach a floor, found in blocks of scores and collected part by part."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_STRIP = 256  # Rows that are looked through at a time: few enough for the processor's cache.
_MOST_PARTS = 1 << 10  # More are joined: each takes memory and time beside its pairs.


class Pairs(NamedTuple):
    """Pairs and their float32 scores."""

    row: np.ndarray
    column: np.ndarray
    scores: np.ndarray

    def above(self, floor: float) -> "Pairs":
        """Returns the pairs with a score at or above the floor."""
        return Pairs(*(values[self.scores >= floor] for values in self))


_NONE = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def strips(row: int, column: int, scores: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (first row, first column, scores) of some rows at a time of a block that begins at this row and column."""
    for start in range(0, len(scores), _STRIP):
        yield row + start, column, scores[start : start + _STRIP]


def pairs_above(strip: tuple[int, int, np.ndarray], floor: float | np.ndarray) -> tuple[Pairs, float]:
    """Returns the pairs of a strip at or above the floor, and the highest score of the strip.

    Args:
      strip: (first row, first column, float [n, m] scores).
      floor: float, or float [n], one of each row.
    """
    first_row, first_column, scores = strip
    floor = np.asarray(floor, scores.dtype)
    highest = scores.max(axis=1)
    promising = np.flatnonzero(highest >= floor)
    # Most rows have nothing above the floor; if all have, they need not be copied.
    looked_at = scores if len(promising) == len(scores) else scores[promising]
    floors = floor[promising, None] if floor.ndim else floor
    row, column = np.divmod(np.flatnonzero(looked_at >= floors), scores.shape[1])
    found = looked_at[row, column]
    return Pairs(first_row + promising[row], first_column + column, found), highest.max()


class PairList:
    """Pairs that are collected part by part."""

    def __init__(self, pairs: Pairs = _NONE) -> None:
        self._parts = [pairs]
        self._count = len(pairs.scores)

    def __len__(self) -> int:
        return self._count

    def add(self, pairs: Pairs) -> None:
        """Adds pairs."""
        if len(pairs.scores):
            self._parts.append(pairs)
            self._count += len(pairs.scores)
        if len(self._parts) > _MOST_PARTS:
            self.joined()

    def joined(self) -> Pairs:
        """Returns all pairs."""
        self._parts = [Pairs(*map(np.concatenate, zip(*self._parts, strict=True)))]
        return self._parts[0]
