"""Trillion-Pairs: identification at a false positive rate, among distractors only."""

from collections.abc import Callable, Iterable

import numpy as np

from tfface.evaluation.exact.search import highest_scores
from tfface.evaluation.exact.similarity import (
    UnitVectors,
    checked_labels,
    float32_product,
    listed_scores,
    same_label_pairs,
)
from tfface.evaluation.metrics.identification import IdentificationPoint
from tfface.evaluation.metrics.verification import operating_point


def identify_at_fpr(
    probes: np.ndarray,
    labels: np.ndarray,
    distractors: np.ndarray,
    fprs: Iterable[float] = (1e-3,),
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = float32_product,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[float, IdentificationPoint]:
    """Measures identification at given false positive rates.

    Every ordered pair (i, j) of images of one person is a search: probe i in a gallery of j and all distractors. It
    succeeds if j scores above all distractors and reaches the threshold, which at most a share FPR of the probes
    reaches with a distractor. (The organisers' program is not public; `exhaustive_tar_at_far` measures their
    verification.)

    Args:
      probes: float [P, D], of any positive lengths.
      labels: int or str [P], identities of the probes.
      distractors: float [N, D], an array or a memory map.
      fprs: floats in (0, 1].
      product: as in `highest_scores`.
      progress: as in `highest_scores`.

    Returns:
      dict from FPR to IdentificationPoint.

    Raises:
      ValueError: no person has two probes, shapes, types or ranges do not fit, or an embedding is zero or not finite.

    Reference:
      Deng et al., ArcFace, CVPR 2019, section 3.3 and Table 8.
    """
    left = UnitVectors(probes, "probes")
    right = UnitVectors(distractors, "distractors", dim=left.dim)
    labels = checked_labels(labels, len(left), "labels")
    probe, mate = same_label_pairs(labels, labels)
    probe, mate = probe[probe != mate], mate[probe != mate]
    if not probe.size:
        raise ValueError(f"none of the {len(left)} probes has another image of the same person.")
    highest = highest_scores(left, right, 1, product=product, progress=progress)[0][:, 0]
    genuine = listed_scores(left, left, probe, mate)
    found, false = np.sort(np.where(genuine > highest[probe], genuine, -np.inf)), np.sort(highest)
    return {float(fpr): IdentificationPoint(*operating_point(found, false, false.size, fpr)) for fpr in fprs}
