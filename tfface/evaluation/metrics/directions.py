"""Rows of vectors as directions: lengths, unit rows and the angles between them, in float64."""

from collections.abc import Sequence

import numpy as np


def unit_rows(vectors: np.ndarray, name: str, rows: Sequence | np.ndarray | None = None) -> np.ndarray:
    """Normalises rows in float64.

    Args:
      vectors: float [N, D], N > 0.
      name: str, name of the array in errors.
      rows: N names of the rows in errors; default: their numbers.

    Returns:
      float64 [N, D].

    Raises:
      ValueError: the array has another shape or type, or a row is zero or not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or not vectors.size or vectors.dtype.kind != "f":
        raise ValueError(f"`{name}` must be float [N > 0, D > 0], got {vectors.dtype} {vectors.shape}.")
    vectors = vectors.astype(np.float64, copy=False)
    return vectors / row_lengths(vectors, name, rows)


def row_lengths(vectors: np.ndarray, name: str, rows: Sequence | np.ndarray | None = None) -> np.ndarray:
    """Measures the lengths of rows, float64 [N, 1]; arguments and errors as in `unit_rows`."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        where = f"in row {row}" if rows is None else f"for {str(rows[row])!r}"
        raise ValueError(f"`{name}` must be finite and not zero, got length {lengths[row, 0]} {where}.")
    return lengths


def angles_between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Measures angles between unit rows [N, D], degrees [N].

    They are exact near 0 and 180 degrees too, where the arc cosine loses half of the digits.
    """
    apart, together = (np.linalg.norm(left + sign * right, axis=1) for sign in (-1, 1))
    return np.degrees(2 * np.arctan2(apart, together))


def angles_of_cosines(cosines: np.ndarray) -> np.ndarray:
    """Converts cosines to degrees; rounding may have carried them beyond 1."""
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))
