"""Distribution of the cosines between class weights: D-Softmax's Figure 4."""

from typing import NamedTuple

import numpy as np

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
