"""Identification of probes in a gallery (1:N): closed-set ranks and open-set rates."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from tfface.evaluation.exact.search import highest_scores
from tfface.evaluation.exact.similarity import (
    UnitVectors,
    checked_labels,
    float32_product,
    listed_scores,
    same_label_pairs,
)
from tfface.evaluation.metrics.verification import operating_point


class IdentificationPoint(NamedTuple):
    """Open-set identification rates at one threshold; all NaN if the FPIR cannot be measured.

    Without mated probes, only the TPIR is NaN.
    """

    tpir: float
    threshold: float
    measured_fpir: float


@dataclasses.dataclass(frozen=True, eq=False)
class Identification:
    """Results of a search of probes in a gallery.

    Attributes:
      rank_rates: dict from rank N to the fraction of mated probes with a mate among the N best, the CMC.
      tpir_at_fpir: dict from FPIR to IdentificationPoint.
      mated: int, number of probes whose identity is in the gallery.
      nonmated: int, number of the other probes.
      hit_scores: float64 [mated], score of each mated probe with its best mate, -inf unless that is at rank 1.
      false_scores: float64 [nonmated], highest score of each other probe. A DET follows from both.
    """

    rank_rates: dict[int, float]
    tpir_at_fpir: dict[float, IdentificationPoint]
    mated: int
    nonmated: int
    hit_scores: np.ndarray
    false_scores: np.ndarray


def identify(
    probes: np.ndarray,
    probe_labels: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    ranks: Iterable[int] = (1, 5, 10),
    fpirs: Iterable[float] = (1e-2, 1e-1),
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = float32_product,
) -> Identification:
    """Searches every probe in the gallery, for closed-set ranks and for open-set rates.

    The rank of a mated probe is one more than the number of gallery entries of other identities that score at least as
    high as its best mate; a tie is not a hit. The identity of a non-mated probe is not in this gallery. FPIR is
    the fraction of non-mated probes whose highest score reaches the threshold, TPIR the fraction of mated probes that
    are at rank 1 and whose mate reaches it. The threshold is chosen as in `tar_at_far`: an FPIR below one non-mated
    probe cannot be measured. If no probe has a mate, the thresholds are still found, and the rates are NaN.

    Args:
      probes: float [P, D], of any positive lengths.
      probe_labels: int or str [P].
      gallery: float [N, D].
      gallery_labels: int or str [N]; an identity may have several entries.
      ranks: ints from 1 up.
      fpirs: floats in (0, 1].
      product: as in `highest_scores`.

    Returns:
      Identification.

    Raises:
      ValueError: a rank or FPIR is out of its range, shapes or types do not fit, or an embedding is zero or not finite.

    Reference:
      Grother, Ngan and Hanaoka, Face Recognition Vendor Test Part 2: Identification, NISTIR 8271, 2019; Maze et al.,
      IARPA Janus Benchmark - C, ICB 2018.
    """
    left = UnitVectors(probes, "probes")
    right = UnitVectors(gallery, "gallery", dim=left.dim)
    probe_labels = checked_labels(probe_labels, len(left), "probe_labels")
    gallery_labels = checked_labels(gallery_labels, len(right), "gallery_labels")
    ranks = checked_ranks(ranks)
    mates = same_label_pairs(probe_labels, gallery_labels)
    best_mate = np.full(len(left), -np.inf)
    np.maximum.at(best_mate, mates[0], listed_scores(left, right, *mates))
    others, _ = highest_scores(left, right, max(ranks), mates=mates, product=product)
    mated = np.isfinite(best_mate)
    rank = 1 + np.sum(others[mated] >= best_mate[mated, None], axis=1)
    found, false = np.where(rank == 1, best_mate[mated], -np.inf), others[~mated, 0]
    sorted_found, sorted_false = np.sort(found), np.sort(false)

    def point(fpir):
        # Without mates, the threshold is that of the false alarms alone.
        reached = operating_point(sorted_found if found.size else sorted_false, sorted_false, false.size, fpir)
        return IdentificationPoint(*reached) if found.size else IdentificationPoint(np.nan, *reached[1:])

    return Identification(
        {number: float(np.mean(rank <= number)) if found.size else np.nan for number in ranks},
        {float(fpir): point(fpir) for fpir in fpirs},
        found.size,
        false.size,
        found,
        false,
    )


def checked_ranks(ranks: Iterable[int]) -> list[int]:
    """Returns ranks as a list of ints from 1 up."""
    ranks = list(ranks)
    if not ranks or any(rank != int(rank) or rank < 1 for rank in ranks):
        raise ValueError(f"ranks must be whole numbers from 1 up, got {ranks}.")
    return [int(rank) for rank in ranks]
