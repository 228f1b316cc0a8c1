"""Cosines between class weights: of all pairs (D-Softmax's Figure 4), and of each with the nearest of another class."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from tfface.evaluation.exact.search import highest_scores
from tfface.evaluation.exact.similarity import UnitVectors
from tfface.evaluation.metrics.directions import unit_rows

_BLOCK_VALUES = 1 << 24


class CosineDistribution(NamedTuple):
    """All K (K - 1) / 2 cosines between K vectors.

    Attributes:
      counts: int64 [bins], cosines in each bin.
      edges: float64 [bins + 1], from -1 to 1; a bin includes its lower edge, and the last bin both edges.
      mean: float, mean of the cosines.
      std: float, population standard deviation; about 1 / sqrt(D) for random directions.
    """

    counts: np.ndarray
    edges: np.ndarray
    mean: float
    std: float


def pairwise_cosines(class_weights: np.ndarray, bins: int = 200) -> CosineDistribution:
    """Counts the cosines of all pairs of class weights, in blocks of bounded memory.

    Args:
      class_weights: float [K, D], K > 1, of any positive lengths.
      bins: int, number of equal bins over [-1, 1].

    Returns:
      CosineDistribution.

    Raises:
      ValueError: there are fewer than two vectors, or one is zero or not finite.

    Reference:
      He et al., Softmax Dissection, AAAI 2020, Figure 4.
    """
    unit = unit_rows(class_weights, "class_weights")
    if len(unit) < 2:
        raise ValueError(f"a pair needs at least 2 class weights, got {len(unit)}.")
    edges = np.linspace(-1, 1, bins + 1)
    counts, total, squares = np.zeros(bins, np.int64), 0.0, 0.0
    rows = max(1, _BLOCK_VALUES // len(unit))
    for start in range(0, len(unit), rows):
        block = unit[start : start + rows] @ unit[start:].T
        above_diagonal = np.logical_not(np.tri(*block.shape))
        # Rounding may carry a cosine beyond 1, outside the last bin.
        cosines = np.clip(block[above_diagonal], -1, 1)
        counts += np.histogram(cosines, bins, (-1, 1))[0]
        total += cosines.sum()
        squares += np.square(cosines).sum()
    pairs = len(unit) * (len(unit) - 1) // 2
    mean = total / pairs
    return CosineDistribution(counts, edges, float(mean), float(np.sqrt(max(0.0, squares / pairs - mean**2))))


def nearest_cosines(
    class_weights: np.ndarray, sub_centers: int = 1, progress: Callable[[Iterable], Iterable] = iter
) -> np.ndarray:
    """Finds the exact cosine of every class weight with the nearest one of another class.

    A million class weights are searched in blocks of float32 products; memory besides the array is bounded.

    Args:
      class_weights: float [K C, D], of any positive lengths; the C sub-centers of a class one after another.
      sub_centers: int C.
      progress: function around the list of blocks, such as `tfface.progress.bar`.

    Returns:
      float64 [K C].

    Raises:
      ValueError: there are fewer than two classes, the rows are not a multiple of C, or one is zero or not finite.
    """
    count = len(class_weights)
    if sub_centers < 1 or count % sub_centers or count < 2 * sub_centers:
        raise ValueError(f"at least 2 classes of {sub_centers} class weights are needed, got {count} class weights.")
    vectors = UnitVectors(class_weights, "class_weights")
    rows = np.arange(count)
    of_class = (rows // sub_centers * sub_centers)[:, None] + np.arange(sub_centers)
    own = (np.repeat(rows, sub_centers), of_class.ravel())
    return highest_scores(vectors, vectors, 1, mates=own, progress=progress)[0][:, 0]
