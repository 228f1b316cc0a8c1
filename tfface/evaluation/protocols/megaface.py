"""MegaFace: identification and verification of a few probes against a million distractors."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfface.evaluation.exact.search import highest_scores
from tfface.evaluation.exact.similarity import (
    UnitVectors,
    checked_labels,
    float32_product,
    listed_scores,
    same_label_pairs,
)
from tfface.evaluation.metrics.identification import checked_ranks
from tfface.evaluation.metrics.verification import OperatingPoint, allowed_impostors, operating_point

# Higher FARs would keep more impostor scores in memory; `exhaustive_tar_at_far` has no such bound.
_MOST_IMPOSTORS = 1 << 24


@dataclasses.dataclass(frozen=True, eq=False)
class MegaFaceResult:
    """Results of the MegaFace challenge for a set of embeddings.

    Attributes:
      version: "original", or "refined" if noisy images were left out.
      rank_rates: dict from rank N to the fraction of searches with the mate among the N best, the CMC.
      tar_at_far: dict from FAR to OperatingPoint.
      searches: int, number of searches, two per genuine pair.
      impostors: int, number of impostor pairs.
      genuine_scores: float64, rising, one per genuine pair.
      highest_impostors: float64, rising, the highest scores of impostor pairs, one more than the highest FAR allows.
    """

    version: str
    rank_rates: dict[int, float]
    tar_at_far: dict[float, OperatingPoint]
    searches: int
    impostors: int
    genuine_scores: np.ndarray
    highest_impostors: np.ndarray


def megaface_challenge(
    probes: np.ndarray,
    labels: np.ndarray,
    distractors: np.ndarray,
    ranks: Iterable[int] = (1, 5, 10),
    fars: Iterable[float] = (1e-6,),
    noisy_probes: Sequence[int] = (),
    noisy_distractors: Sequence[int] = (),
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = float32_product,
    progress: Callable[[Iterable], Iterable] = iter,
) -> MegaFaceResult:
    """Runs the MegaFace challenge 1 on embeddings of its probes and distractors.

    Every ordered pair (i, j) of images of one person is a search: probe i in a gallery of j and all distractors. Its
    rank is one more than the number of distractors that score at least as high as j; a tie is not a hit. In
    verification, the same pairs, each once, are genuine, and every pair of a probe and a distractor is an impostor.

    The refined version leaves out the probes and distractors in the published lists of noise. (The scripts published
    with ArcFace instead move noisy probes close to their person's centre, where they become hits, because the
    challenge's own program expects a fixed number of images: their rates are higher.)

    Args:
      probes: float [P, D], of any positive lengths.
      labels: int or str [P], identities of the probes.
      distractors: float [N, D], an array or a memory map; it is never copied as a whole.
      ranks: ints from 1 up, such as range(1, 101) for a CMC curve.
      fars: floats in (0, 1].
      noisy_probes: int, rows of probes to leave out.
      noisy_distractors: int, rows of distractors to leave out.
      product: as in `highest_scores`.
      progress: as in `highest_scores`.

    Returns:
      MegaFaceResult.

    Raises:
      ValueError: no person has two probes, a FAR admits too many impostors to hold, shapes, types or ranges do not fit,
        or a used embedding is zero or not finite.

    Reference:
      Kemelmacher-Shlizerman et al., The MegaFace Benchmark: 1 Million Faces for Recognition at Scale, CVPR 2016; Deng
      et al., ArcFace, CVPR 2019, section 3.3 (the refined version).
    """
    probe_rows = _without(noisy_probes, len(probes), "noisy_probes")
    distractor_rows = _without(noisy_distractors, len(distractors), "noisy_distractors")
    labels = checked_labels(labels, len(probes), "labels")[slice(None) if probe_rows is None else probe_rows]
    left = UnitVectors(probes, "probes", probe_rows)
    right = UnitVectors(distractors, "distractors", distractor_rows, left.dim)
    ranks, fars = checked_ranks(ranks), [float(far) for far in fars]
    probe, mate = same_label_pairs(labels, labels)
    probe, mate = probe[probe != mate], mate[probe != mate]
    if not probe.size:
        raise ValueError(f"none of the {len(left)} probes has another image of the same person.")
    genuine = listed_scores(left, left, probe, mate)
    impostors = len(left) * len(right)
    wanted = max((allowed_impostors(far, impostors) for far in fars), default=0) + 1
    if wanted > _MOST_IMPOSTORS:
        raise ValueError(
            f"`fars` may admit {_MOST_IMPOSTORS} of the {impostors} impostors, got {fars}; "
            "`exhaustive_tar_at_far` measures higher ones."
        )
    others, top = highest_scores(left, right, max(ranks), min(wanted, impostors), product=product, progress=progress)
    rank = 1 + np.concatenate(
        [
            np.sum(others[probe[part]] >= genuine[part, None], axis=1)
            for part in np.array_split(np.arange(probe.size), 1 + probe.size // 4096)
        ]
    )
    once = np.sort(genuine[probe < mate])
    return MegaFaceResult(
        "original" if probe_rows is None and distractor_rows is None else "refined",
        {number: float(np.mean(rank <= number)) for number in ranks},
        {far: operating_point(once, top[::-1], impostors, far) for far in fars},
        probe.size,
        impostors,
        once,
        top[::-1],
    )


def _without(noisy, size, name):
    """Returns the rows that are not noisy, or None if no row is noisy."""
    noisy = np.asarray(noisy)
    if not noisy.size:
        return None
    if noisy.ndim != 1 or noisy.dtype.kind not in "iu" or noisy.min() < 0 or noisy.max() >= size:
        raise ValueError(f"`{name}` must be rows in [0, {size}), got {noisy!r}.")
    return np.setdiff1d(np.arange(size), noisy)
