"""Blocks of float32 scores in bins, and exact scores in the few bins around a threshold."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfface.evaluation.exact.found_pairs import PairList, Pairs, strips
from tfface.evaluation.exact.similarity import UnitVectors, listed_scores, tolerance

BLOCK = 4096
# Narrower bins are not worth the time that they take; with 512 coordinates they cannot be narrower.
_NARROWEST = 2.0**-14
_MOST_VALUES = 1 << 26
_BATCH = 1 << 20
_MOST_KEPT = 1 << 22


class Band(NamedTuple):
    """Bins [low, high) that hold the exact scores of the highest refused and, if any, the lowest accepted impostor."""

    low: int
    high: int


class Blocks:
    """Blocks of float32 scores of impostor pairs, with -inf for other pairs; the first bin lies below -1.

    Args:
      left: `UnitVectors` of the rows.
      right: `UnitVectors` of the columns.
      person: int [N], sorted people of both sides, if these are the same vectors; None for distractors.
      product: as in `highest_scores`.
    """

    def __init__(
        self,
        left: UnitVectors,
        right: UnitVectors,
        person: np.ndarray | None,
        product: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        self.left, self.right, self._person, self._product = left, right, person, product
        self.error = tolerance(left.dim)
        # A power of two, so that the bin of a float32 score is computed without rounding.
        self.width = max(_NARROWEST, 2.0 ** math.ceil(math.log2(self.error)))
        self._zero = int(1 / self.width) + 2
        self.bins = 2 * self._zero
        self._row, self._rows = -1, np.empty([0, left.dim], np.float32)
        self.corners = [
            (row, column)
            for row in range(0, len(left), BLOCK)
            for column in range(0 if person is None else row, len(right), BLOCK)
        ]

    def edge(self, number: int) -> float:
        """Returns the lower edge of a bin."""
        return (number - self._zero) * self.width

    def bin(self, scores: np.ndarray) -> np.ndarray:
        """Returns the bins of finite scores, int64."""
        return np.floor(scores / np.float32(self.width)).astype(np.int64) + self._zero

    def scores(self, number: int) -> np.ndarray:
        """Computes a block of scores, float32."""
        row, column = self.corners[number]
        rows, columns = slice(row, row + BLOCK), slice(column, column + BLOCK)
        if row != self._row:
            self._row, self._rows = row, self.left.single(rows)
        scores = np.require(self._product(self._rows, self.right.single(columns)), np.float32, "W")
        if self._person is not None:
            first, second = self._person[rows], self._person[columns]
            if second[0] <= first[-1]:
                scores[first[:, None] == second] = -np.inf
            if row == column:
                index = np.arange(len(first))
                scores[index[:, None] >= index] = -np.inf
        return scores

    def strips(self, number: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yields (first row, first column, scores) of some rows of a block at a time."""
        return strips(*self.corners[number], self.scores(number))


class Kept:
    """The pairs above a rising floor, as long as there are few enough to be held in memory.

    Args:
      saved: dict of arrays that `arrays` returned; None: of a pass over no blocks.
    """

    def __init__(self, saved: Mapping[str, np.ndarray] | None = None) -> None:
        self._pairs: PairList | None = PairList()
        if saved is not None:
            # Checkpoints of earlier releases, and those of too many pairs, have none.
            known = all(f"kept_{name}" in saved for name in Pairs._fields)
            self._pairs = PairList(Pairs(*(saved[f"kept_{name}"] for name in Pairs._fields))) if known else None

    def add(self, pairs: Pairs, floor: float) -> None:
        """Adds pairs above the floor, below which no pair is needed any more."""
        if self._pairs is None:
            return
        self._pairs.add(pairs)
        if len(self._pairs) > _MOST_KEPT:
            self._pairs = PairList(self._pairs.joined().above(floor))
            if len(self._pairs) > _MOST_KEPT // 2:
                self._pairs = None

    def pairs(self) -> Pairs | None:
        """Returns all pairs above the last floor and some below; None: they are too many to be held."""
        return None if self._pairs is None else self._pairs.joined()

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the pairs for a checkpoint."""
        pairs = self.pairs()
        return {} if pairs is None else {f"kept_{name}": values for name, values in pairs._asdict().items()}


class Near:
    """Exact impostor scores in a band, how often each occurs, and the number of scores above the band."""

    def __init__(
        self, blocks: Blocks, band: Band, values: Sequence[float] = (), times: Sequence[int] = (), above: int = 0
    ) -> None:
        self._blocks, self._bounds = blocks, (blocks.edge(band.low), blocks.edge(band.high))
        # Outside these bounds, the float32 score alone decides.
        self._unsure = blocks.edge(band.low - 1), blocks.edge(band.high + 1)
        self.values, self.times, self.above = np.array(values, float), np.array(times, np.int64), int(above)
        self._waiting = PairList()

    def add(self, pairs: Pairs) -> None:
        """Adds pairs with float32 scores."""
        self.above += int(np.sum(pairs.scores >= self._unsure[1]))
        unsure = (pairs.scores >= self._unsure[0]) & (pairs.scores < self._unsure[1])
        self._waiting.add(Pairs(*(values[unsure] for values in pairs)))
        if len(self._waiting) > _BATCH:
            self.settle()

    def settle(self) -> None:
        """Computes the exact scores of the added pairs."""
        if not len(self._waiting):
            return
        row, column, screened = self._waiting.joined()
        exact = listed_scores(self._blocks.left, self._blocks.right, row, column)
        if exact.size and (worst := np.abs(exact - screened).max()) > self._blocks.error:
            raise ValueError(f"`product` must be as accurate as float32 ({self._blocks.error:.1e}), got {worst:.1e}.")
        self._waiting = PairList()
        self.above += int(np.sum(exact >= self._bounds[1]))
        inside = exact[(exact >= self._bounds[0]) & (exact < self._bounds[1])]
        self.values, index = np.unique(np.concatenate([self.values, inside]), return_inverse=True)
        times = np.concatenate([self.times, np.ones(inside.size, np.int64)])
        self.times = np.bincount(index, times, self.values.size).astype(np.int64)
        if self.values.size > _MOST_VALUES:
            raise ValueError(
                f"more than {_MOST_VALUES} different scores lie within {self._bounds}, near the threshold of a FAR; "
                "ask for lower FARs."
            )


def lowest_needed(counts: np.ndarray, allowed: int) -> int:
    """Returns the lowest bin that `find_band` may need, from the counts of some of the scores."""
    # More than `allowed` lie above the highest such bin already; the band and its neighbours end two bins below it.
    above = np.cumsum(counts[::-1])[::-1]
    return max(int(np.sum(above > allowed)) - 3, 0)


def find_band(counts: np.ndarray, allowed: int) -> Band:
    """Finds the Band where at most `allowed` impostors are accepted, from the counts of float32 scores in all bins.

    With A(j) float32 scores at or above the lower edge of bin j, the exact number is from A(j + 1) to A(j - 1).
    """
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    first = int(np.sum(above > allowed))  # the lowest j with A(j) <= allowed
    high = first + 1
    higher = above[min(high + 1, counts.size)]
    # Raised until an impostor certainly lies between the old and the new upper edge, or none is left.
    high = int(np.argmax(above < higher)) + 1 if higher else counts.size
    return Band(first - 2, high)
