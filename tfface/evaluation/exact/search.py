"""The exact highest scores of every probe in a large gallery, in one pass of float32 products.

The pass keeps only float32 scores above a rising floor: the lowest of the highest scores that the probe has met so far,
a few more than were asked for. The kept pairs are scored exactly at the end. If the float32 error could have hidden a
better pair (many equal scores), the probe is searched again in exact arithmetic.
"""

from collections.abc import Callable, Iterable

import numpy as np

from tfface.evaluation.exact.found_pairs import pairs_above, strips
from tfface.evaluation.exact.similarity import UnitVectors, float32_product, listed_scores, tolerance

_ROWS, _COLUMNS, _FIRST_COLUMNS = 4096, 2048, 256


def highest_scores(
    probes: UnitVectors,
    gallery: UnitVectors,
    count: int,
    overall: int = 0,
    mates: tuple[np.ndarray, np.ndarray] | None = None,
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = float32_product,
    progress: Callable[[Iterable], Iterable] = iter,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the highest exact scores between probes and gallery, per probe and over all probes.

    Args:
      probes: UnitVectors of length P.
      gallery: UnitVectors of length N.
      count: int, number of scores per probe.
      overall: int, number of scores over all probes.
      mates: (int [M], int [M]), rows of probes and gallery whose scores are left out, or None.
      product: function of float32 [n, D] and [m, D] that gives all their products [n, m], in float32 arithmetic or
        better (on a GPU: without TF32).
      progress: function around the list of blocks, such as `tfface.progress.bar`.

    Returns:
      (float64 [P, count], float64 [overall]), each in falling order and padded with -inf.

    Raises:
      ValueError: the product is less accurate than float32.
    """
    mates = _by_column(mates)
    best, top = _scan(probes, gallery, np.arange(len(probes)), count, overall, mates, product, progress)
    (scores, open_probes), (top_scores, top_open) = (kept.resolve(probes, gallery) for kept in (best, top))
    if open_probes.any() or top_open.any():
        rows = np.arange(len(probes)) if top_open.any() else np.flatnonzero(open_probes)
        best, top = _scan(probes, gallery, rows, count, overall * top_open.any(), mates, None, progress)
        scores[rows] = best.resolve(probes, gallery)[0]
        top_scores = top.resolve(probes, gallery)[0] if top_open.any() else top_scores
    return scores, top_scores[0]


class _Highest:
    """Running highest scores per group of pairs: a group per probe, or one group of all probes.

    No score that it refuses or drops exceeds the final floor of its group.
    """

    def __init__(self, groups, count, spare, error):
        self._groups, self._count, self._keep, self._error = groups, count, count + spare, error
        # The floors have the dtype of the scores, because a comparison would otherwise convert every score.
        self.floor = np.full(groups, -np.inf if count else np.inf, np.float32 if error else np.float64)
        self._kept = [(np.empty(0, np.int64),) * 3 + (np.empty(0, self.floor.dtype),)]
        self._waiting = 0

    def add(self, group, row, column, scores):
        """Adds scores of the pairs (row, column)."""
        good = scores > self.floor[group]
        self._kept.append(tuple(values[good] for values in (group, row, column, scores)))
        self._waiting += len(self._kept[-1][0])
        if self._waiting > self._groups * self._keep:
            self._settle()

    def _settle(self):
        group, row, column, scores = map(np.concatenate, zip(*self._kept, strict=True))
        order, rank = _ranked(group, scores, self._groups)
        kept = order[rank < self._keep]
        full = order[rank == self._keep - 1]
        self.floor[group[full]] = scores[full]
        self._kept = [tuple(values[kept] for values in (group, row, column, scores))]
        self._waiting = 0

    def resolve(self, probes, gallery):
        """Returns exact scores [groups, count], falling, and per group whether a dropped pair could be among them."""
        exact = np.full((self._groups, self._count), -np.inf)
        if not self._count:
            return exact, np.zeros(self._groups, bool)
        self._settle()
        ((group, row, column, scores),) = self._kept
        if self._error:
            screened, scores = scores, listed_scores(probes, gallery, row, column)
            if scores.size and (worst := np.abs(screened - scores).max()) > self._error:
                raise ValueError(
                    f"`product` must be as accurate as float32 (error {self._error:.1e}), got {worst:.1e}."
                )
        order, rank = _ranked(group, scores, self._groups)
        shown = order[rank < self._count]
        exact[group[shown], rank[rank < self._count]] = scores[shown]
        return exact, self.floor + self._error > exact[:, -1]


def _scan(probes, gallery, rows, count, overall, mates, product, progress):
    """Scores some probes against the gallery block by block; without a product, in exact arithmetic."""
    error = tolerance(gallery.dim) if product else 0.0
    spares = (0, 0) if product is None else (16 + count // 8, 16 + overall // 8)
    best = _Highest(len(rows), count, spares[0], error)
    top = _Highest(1, overall, spares[1], error)
    blocks = [(start, *columns) for start in range(0, len(rows), _ROWS) for columns in _columns(len(gallery))]
    position = np.full(len(probes), -1)
    for start, first, last in progress(blocks):
        block = rows[start : start + _ROWS]
        if first == 0:
            position[:] = -1
            position[block] = np.arange(len(block))
            left = probes.exact(block) if product is None else probes.single(block)
        columns = slice(first, last)
        if product is None:
            scores = left @ gallery.exact(columns).T
        else:
            scores = np.require(product(left, gallery.single(columns)), np.float32, "W")
        begin, end = np.searchsorted(mates[1], [first, last])
        mate_rows = position[mates[0][begin:end]]
        scores[mate_rows[mate_rows >= 0], mates[1][begin:end][mate_rows >= 0] - first] = -np.inf
        # The next number above the floor: equal scores are of no use.
        floor = np.nextafter(np.minimum(best.floor[start : start + _ROWS], top.floor), np.inf, dtype=scores.dtype)
        for strip in strips(0, first, scores):
            row, column, found = pairs_above(strip, floor[strip[0] : strip[0] + len(strip[2])])[0]
            best.add(start + row, block[row], column, found)
            top.add(np.zeros_like(row), block[row], column, found)
    return best, top


def _columns(size):
    """Yields blocks of the gallery; the first are small, because nothing has raised the floor yet."""
    start = 0
    while start < size:
        stop = min(size, start + min(_COLUMNS, max(_FIRST_COLUMNS, start)))
        yield start, stop
        start = stop


def _ranked(group, scores, groups):
    """Returns the order by group and falling score, and the rank in its group of every element of that order."""
    order = np.argsort(-scores)
    # NumPy sorts short integers by radix, several times faster than long ones.
    short = group.astype(np.uint16) if groups <= 1 << 16 else group
    order = order[np.argsort(short[order], kind="stable")]
    sizes = np.bincount(group, minlength=groups)
    return order, np.arange(group.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _by_column(mates):
    if mates is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(mates[1], kind="stable")
    return mates[0][order], mates[1][order]
