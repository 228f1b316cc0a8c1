"""How tight classes are and how far apart: the angle statistics of ArcFace's Table 3, in degrees."""

from typing import NamedTuple

import numpy as np

_BLOCK_VALUES = 1 << 24


class AngleStatistics(NamedTuple):
    """Mean angles in degrees; the first two are None without class weights.

    Attributes:
      w_ec: W-EC, between a class weight and the centre of its embeddings.
      w_inter: W-Inter, between a class weight and the nearest other one.
      intra: Intra, between an embedding and the centre of its class.
      inter: Inter, between a centre and the nearest other one.
    """

    w_ec: float | None
    w_inter: float | None
    intra: float
    inter: float


def angle_statistics(embeddings, labels, class_weights=None):
    """Measures mean angles within and between classes.

    The centre of a class is the mean of its unit embeddings.

    Args:
      embeddings: float [N, D], of any positive length.
      labels: int [N], of at least two classes.
      class_weights: float [K, D], row k for label k, or None. W-EC is over the classes that have embeddings, W-Inter
        over all.

    Returns:
      AngleStatistics.

    Raises:
      ValueError: if shapes do not fit, there is a single class, a label has no class weight, or a vector (or the
        centre of a class) is zero or not finite.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Table 3: "Intra1" and "Inter1" are those of the training images, "Intra2" and
      "Inter2" those of the test images.
    """
    unit, labels = unit_rows(embeddings, "embeddings"), np.asarray(labels)
    if labels.shape != (len(unit),) or labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be int [{len(unit)}], got {labels.dtype} {labels.shape}.")
    classes, place = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"angles between classes need at least 2 classes, got {classes.tolist()}.")
    sums = np.zeros((len(classes), unit.shape[1]))
    np.add.at(sums, place, unit)
    centres = unit_rows(sums, "centres of the classes")
    intra = _angles(unit, centres[place]).mean()
    inter = nearest_angles(centres).mean()
    if class_weights is None:
        return AngleStatistics(None, None, float(intra), float(inter))
    weights = unit_rows(class_weights, "class_weights")
    if classes[0] < 0 or classes[-1] >= len(weights) or weights.shape[1] != unit.shape[1]:
        raise ValueError(
            f"`class_weights` must be [more than {classes[-1]}, {unit.shape[1]}] for labels from {classes[0]} to "
            f"{classes[-1]}, got {weights.shape}."
        )
    w_ec = _angles(weights[classes], centres).mean()
    return AngleStatistics(float(w_ec), float(nearest_angles(weights).mean()), float(intra), float(inter))


def nearest_angles(vectors):
    """Finds the angle from every vector to the nearest other one, in blocks of bounded memory.

    Args:
      vectors: float [K, D], K > 1, of any positive length.

    Returns:
      float64 [K], degrees.

    Raises:
      ValueError: if there are fewer than two vectors, or one is zero or not finite.
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
    return _angles(unit, unit[nearest])


def unit_rows(vectors, name):
    """Normalises rows in float64.

    Args:
      vectors: float [N, D], N > 0.
      name: str, what the error calls them.

    Returns:
      float64 [N, D].

    Raises:
      ValueError: if they are no such array, or a row is zero or not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or not vectors.size or vectors.dtype.kind != "f":
        raise ValueError(f"`{name}` must be float [N > 0, D > 0], got {vectors.dtype} {vectors.shape}.")
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise ValueError(f"`{name}` must be finite and not zero, got length {norms[row, 0]} in row {row}.")
    return vectors / norms


def _angles(left, right):
    """Angles between unit rows in degrees; exact also near 0 and 180, where the arc cosine loses half of the digits."""
    apart, together = (np.linalg.norm(left + sign * right, axis=1) for sign in (-1, 1))
    return np.degrees(2 * np.arctan2(apart, together))
