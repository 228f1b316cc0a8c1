"""Angles within and between classes, in degrees: the statistics of ArcFace's Table 3."""

from typing import NamedTuple

import numpy as np

from tfface.evaluation.metrics.directions import angles_between, angles_of_cosines, unit_rows

_BLOCK_VALUES = 1 << 24


class AngleStatistics(NamedTuple):
    """Mean angles in degrees; the first two are None without class weights.

    Attributes:
      w_ec: W-EC, between a class weight and the centre of its embeddings.
      w_inter: W-Inter, between a class weight and its nearest neighbour.
      intra: Intra, between an embedding and the centre of its class.
      inter: Inter, between a centre and its nearest neighbour.
    """

    w_ec: float | None
    w_inter: float | None
    intra: float
    inter: float


def angle_statistics(
    embeddings: np.ndarray, labels: np.ndarray, class_weights: np.ndarray | None = None
) -> AngleStatistics:
    """Measures mean angles within and between classes.

    The centre of a class is the mean of its unit embeddings.

    Args:
      embeddings: float [N, D], of any positive length.
      labels: int [N], of at least two classes.
      class_weights: float [K, D], row k for label k, or None. W-EC averages over the classes with embeddings, W-Inter
        over all classes.

    Returns:
      AngleStatistics.

    Raises:
      ValueError: shapes do not fit, there is a single class, a label has no class weight, or a vector (or the centre of
        a class) is zero or not finite.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Table 3: "Intra1" and "Inter1" belong to the training images, "Intra2" and
      "Inter2" to the test images.
    """
    unit, labels = unit_rows(embeddings, "embeddings"), np.asarray(labels)
    if labels.shape != (len(unit),) or labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be int [{len(unit)}], got {labels.dtype} {labels.shape}.")
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"angles between classes need at least 2 classes, got {classes.tolist()}.")
    sums = np.zeros((len(classes), unit.shape[1]))
    np.add.at(sums, index, unit)
    centres = unit_rows(sums, "centres of the classes")
    intra = angles_between(unit, centres[index]).mean()
    inter = nearest_angles(centres).mean()
    if class_weights is None:
        return AngleStatistics(None, None, float(intra), float(inter))
    weights = unit_rows(class_weights, "class_weights")
    if classes[0] < 0 or classes[-1] >= len(weights) or weights.shape[1] != unit.shape[1]:
        raise ValueError(
            f"`class_weights` must be [more than {classes[-1]}, {unit.shape[1]}] for labels from {classes[0]} to "
            f"{classes[-1]}, got {weights.shape}."
        )
    w_ec = angles_between(weights[classes], centres).mean()
    return AngleStatistics(float(w_ec), float(nearest_angles(weights).mean()), float(intra), float(inter))


def nearest_angles(vectors: np.ndarray) -> np.ndarray:
    """Finds the angle from every vector to its nearest neighbour, in blocks of bounded memory.

    Args:
      vectors: float [K, D], K > 1, of any positive length.

    Returns:
      float64 [K], degrees.

    Raises:
      ValueError: there are fewer than two vectors, or one is zero or not finite.
    """
    unit = unit_rows(vectors, "vectors")
    if len(unit) < 2:
        raise ValueError(f"a nearest neighbour needs at least 2 vectors, got {len(unit)}.")
    nearest = np.empty(len(unit), np.int64)
    rows = max(1, _BLOCK_VALUES // len(unit))
    for start in range(0, len(unit), rows):
        cosines = unit[start : start + rows] @ unit.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        nearest[start : start + rows] = cosines.argmax(axis=1)
    return angles_between(unit, unit[nearest])


def angles_to_class_weights(
    embeddings: np.ndarray, labels: np.ndarray, class_weights: np.ndarray, sub_centers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Measures the angle of every embedding to its own class and to the nearest other one, its hardest negative.

    With sub-centers, the angle to a class is that to its nearest sub-center. The class weights are read in blocks, so
    that only they are as large as the number of classes.

    Args:
      embeddings: float [N, D], of any positive lengths.
      labels: int [N].
      class_weights: float [K C, D], K > 1, of any positive lengths; the C sub-centers of class k are the rows from k C.
      sub_centers: int C.

    Returns:
      (positive, hardest_negative): float64 [N] each, degrees.

    Raises:
      ValueError: shapes do not fit, a label has no class weight, or a vector is zero or not finite.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figure 4a.
    """
    unit, labels, weights = unit_rows(embeddings, "embeddings"), np.asarray(labels), np.asarray(class_weights)
    if labels.shape != (len(unit),) or labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be int [{len(unit)}], got {labels.dtype} {labels.shape}.")
    classes, rest = divmod(len(weights), sub_centers)
    if weights.ndim != 2 or weights.shape[1] != unit.shape[1] or rest or classes < 2:
        raise ValueError(f"`class_weights` must be [K {sub_centers}, {unit.shape[1]}] with K > 1, got {weights.shape}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"`labels` must be in [0, {classes}), got {labels.min()} to {labels.max()}.")
    positive, negative = np.full(len(unit), -np.inf), np.full(len(unit), -np.inf)
    at_once = max(1, _BLOCK_VALUES // (len(unit) * sub_centers))
    for start in range(0, classes, at_once):
        block = unit_rows(weights[start * sub_centers : (start + at_once) * sub_centers], "class_weights")
        cosines = (unit @ block.T).reshape(len(unit), -1, sub_centers).max(axis=2)
        own = np.flatnonzero((labels >= start) & (labels < start + cosines.shape[1]))
        positive[own] = cosines[own, labels[own] - start]
        cosines[own, labels[own] - start] = -np.inf
        negative = np.maximum(negative, cosines.max(axis=1))
    return angles_of_cosines(positive), angles_of_cosines(negative)
