"""Exact cosine similarities, and fast ones with a bounded error.

In a float32 matrix product, the last digit of a pair depends on its block, so that equal images do not tie and counts
near a threshold depend on the machine. Here the score of a pair is defined by arithmetic that cannot round: every
embedding is divided by its length and rounded to multiples of 2^-26. Products of two such numbers are multiples of
2^-52 and no partial sum reaches 2, so float64 adds them exactly, in any order and with any BLAS. The rounding moves a
cosine by less than sqrt(D) 2^-26 (3.4e-7 for D = 512; about 1e-8 in practice), no more than float32 embeddings do.

Large protocols first compute float32 products, which are within `tolerance(D)` of the exact score, and compute exact
scores only where a decision is still open.
"""

from collections.abc import Sequence

import numpy as np

_GRID = 2.0**26
_BLOCK = 1024
# Outside these bounds, float32 would lose coordinates to underflow or overflow.
_SHORTEST, _LONGEST = 1e-18, 1e18


class UnitVectors:
    """Embeddings as points on the unit sphere, read in blocks so that a memory map stays on the disk.

    Args:
      embeddings: float [N, D], rows of any lengths from 1e-18 to 1e18.
      name: str, name of the array in errors.
      rows: int [M], the rows to use, in this order; default: all.
      dim: int, required number of coordinates; default: any.

    Raises:
      ValueError: the shape or type does not fit, or a used row is zero or not finite.
    """

    def __init__(
        self, embeddings: np.ndarray, name: str = "embeddings", rows: np.ndarray | None = None, dim: int | None = None
    ) -> None:
        embeddings = np.asarray(embeddings)
        dims = (embeddings.shape[1:] or (0,)) if dim is None else (dim,)
        if embeddings.shape[1:] != dims or embeddings.dtype.kind != "f" or not embeddings[:1].size:
            raise ValueError(f"`{name}` must be float [N, {dim or 'D'}], got {embeddings.dtype} {embeddings.shape}.")
        self._embeddings, self._rows = embeddings, rows
        self._lengths = np.empty(len(embeddings) if rows is None else len(rows))
        for start in range(0, len(self), _BLOCK):
            block = self._read(slice(start, start + _BLOCK))
            self._lengths[start : start + _BLOCK] = np.sqrt(np.einsum("nd,nd->n", block, block))
        if not len(self):
            raise ValueError(f"`{name}` must have a row that is used, got none of {len(embeddings)}.")
        usable = (self._lengths >= _SHORTEST) & (self._lengths <= _LONGEST)
        if not usable.all():
            bad = int(np.argmin(usable))
            row = bad if rows is None else int(rows[bad])
            raise ValueError(f"`{name}` must be finite and not zero, got length {self._lengths[bad]} in row {row}.")

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def dim(self) -> int:
        """Number of coordinates D."""
        return self._embeddings.shape[1]

    def exact(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns vectors whose products are exact, float64 [n, D]; `rows` is a slice or int [n]."""
        unit = self._read(rows)
        unit *= (_GRID / self._lengths[rows])[:, None]
        np.rint(unit, out=unit)
        unit /= _GRID
        return unit

    def single(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns vectors in float32 [n, D], whose products are within `tolerance(D)` of the exact ones."""
        unit = self._read(rows, np.float32)
        unit *= (1 / self._lengths[rows]).astype(np.float32)[:, None]
        return unit

    def _read(self, rows, dtype=np.float64):
        """Copies some rows."""
        return self._embeddings[rows if self._rows is None else self._rows[rows]].astype(dtype)


def tolerance(dim: int) -> float:
    """Bounds the distance of a float32 product of unit vectors from the exact score, for any order of the sum.

    Reference:
      Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1 (inner products), plus the rounding of
      the vectors to float32 and to the grid.
    """
    return (dim + np.sqrt(dim) + 8) * 2.0**-24


def float32_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Computes all products of float32 [n, D] and [m, D] with NumPy, float32 [n, m]."""
    return left @ right.T


def pair_scores(embeddings: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Scores listed pairs of embeddings by exact cosine similarity.

    Pairs are grouped into blocks, so that a list of millions costs a few matrix products.

    Args:
      embeddings: float [N, D], of any positive lengths.
      left: int [P], row of the first embedding of every pair.
      right: int [P], row of the second embedding.

    Returns:
      float64 [P].

    Raises:
      ValueError: shapes or types do not fit, an index is not in [0, N), or an embedding is zero or not finite.
    """
    vectors = UnitVectors(embeddings)
    left, right = (_checked_rows(rows, len(vectors), name) for rows, name in ((left, "left"), (right, "right")))
    if left.shape != right.shape:
        raise ValueError(f"`left` and `right` must have the same length, got {left.size} and {right.size}.")
    return listed_scores(vectors, vectors, left, right)


def listed_scores(
    left_vectors: UnitVectors, right_vectors: UnitVectors, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Computes exact scores, float64 [P], of pairs: rows `left` of one and `right` of the other UnitVectors."""
    used_left, left = _compact(left, len(left_vectors))
    used_right, right = _compact(right, len(right_vectors))
    columns = -(-max(used_right.size, 1) // _BLOCK)
    block = left // _BLOCK * columns + right // _BLOCK
    position = left % _BLOCK * _BLOCK + right % _BLOCK
    # NumPy sorts short integers by radix, several times faster than long ones.
    order = np.argsort(block.astype(np.uint16) if block.max(initial=0) < 1 << 16 else block, kind="stable")
    sizes = np.bincount(block)
    scores = np.empty(left.size)
    for number, stop in zip(np.flatnonzero(sizes), np.cumsum(sizes)[sizes > 0], strict=True):
        row, column = divmod(int(number), columns)
        pairs = order[stop - sizes[number] : stop]
        positions = position[pairs]
        first, second = (used[part * _BLOCK :][:_BLOCK] for used, part in ((used_left, row), (used_right, column)))
        if 16 * pairs.size > first.size * second.size:
            products = np.empty((first.size, _BLOCK))
            np.matmul(left_vectors.exact(first), right_vectors.exact(second).T, out=products[:, : second.size])
            scores[pairs] = products.take(positions)
            continue
        for start in range(0, pairs.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            left_rows, right_rows = first[positions[part] // _BLOCK], second[positions[part] % _BLOCK]
            factors = left_vectors.exact(left_rows), right_vectors.exact(right_rows)
            scores[pairs[part]] = np.einsum("pd,pd->p", *factors)
    return scores


def same_label_pairs(left_labels: np.ndarray, right_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists all pairs (left row, right row) with the same label: int64 [M] twice, sorted by the left row."""
    order = np.argsort(right_labels, kind="stable")
    sorted_labels = np.asarray(right_labels)[order]
    starts = np.searchsorted(sorted_labels, left_labels, "left")
    counts = np.searchsorted(sorted_labels, left_labels, "right") - starts
    left = np.repeat(np.arange(counts.size), counts)
    within = np.arange(left.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, order[starts[left] + within]


def checked_labels(labels: Sequence | np.ndarray, size: int, name: str) -> np.ndarray:
    """Returns labels as an array [size] of integers or strings; refuses other types, such as float with its NaN."""
    labels = np.asarray(labels)
    if labels.shape != (size,) or labels.dtype.kind not in "iuU":
        raise ValueError(
            f"`{name}` must be int or str [{size}], a label for every row, got {labels.dtype} {labels.shape}."
        )
    return labels


def _compact(rows, size):
    """Returns the distinct rows in rising order, and the index of every row among them."""
    used = np.zeros(size, bool)
    used[rows] = True
    return np.flatnonzero(used), np.cumsum(used, dtype=np.int32)[rows] - np.int32(1)


def _checked_rows(rows, size, name):
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must be int [P], got {rows.dtype} {rows.shape}.")
    outside = (rows < 0) | (rows >= size)
    if outside.any():
        raise ValueError(f"`{name}` must be rows in [0, {size}), got {rows[np.argmax(outside)]}.")
    return rows
