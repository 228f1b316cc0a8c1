"""Who is it: closed-set ranks and open-set identification of probes in a gallery (1:N)."""

import dataclasses
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
    """What open-set identification reaches at one threshold; all NaN where the FPIR cannot be measured."""

    tpir: float
    threshold: float
    measured_fpir: float


@dataclasses.dataclass(frozen=True, eq=False)
class Identification:
    """What a search of probes in a gallery says.

    Attributes:
      rank_rates: dict from rank N to the fraction of mated probes with a mate among the N best, the CMC.
      tpir_at_fpir: dict from FPIR to IdentificationPoint.
      mated: int, number of probes whose identity is in the gallery.
      nonmated: int, number of all others.
    """

    rank_rates: dict
    tpir_at_fpir: dict
    mated: int
    nonmated: int


def identify(
    probes, probe_labels, gallery, gallery_labels, ranks=(1, 5, 10), fpirs=(1e-2, 1e-1), product=float32_product
):
    """Searches every probe in the gallery, with and without knowing that its identity is there.

    The rank of a mated probe is one more than the number of gallery entries of other identities that score at least as
    high as its best mate; a tie is not a hit. A non-mated probe is one whose identity is not in this gallery. FPIR is
    the fraction of non-mated probes whose highest score reaches the threshold, TPIR the fraction of mated probes that
    are at rank 1 and whose mate reaches it. The threshold is chosen as in `tar_at_far`: an FPIR below one non-mated
    probe cannot be measured.

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
      ValueError: if no probe has a mate, a rank or FPIR is out of its range, shapes or types do not fit, or an
        embedding is zero or not finite.

    Reference:
      Grother, Ngan and Hanaoka, Face Recognition Vendor Test Part 2: Identification, NISTIR 8271, 2019; Maze et al.,
      IARPA Janus Benchmark - C, ICB 2018.
    """
    probes = UnitVectors(probes, "probes")
    gallery = UnitVectors(gallery, "gallery", dim=probes.dim)
    probe_labels = checked_labels(probe_labels, len(probes), "probe_labels")
    gallery_labels = checked_labels(gallery_labels, len(gallery), "gallery_labels")
    ranks = checked_ranks(ranks)
    mates = same_label_pairs(probe_labels, gallery_labels)
    if not mates[0].size:
        raise ValueError(
            f"none of the {len(probes)} probes has a mate among the {len(gallery)} entries of the gallery."
        )
    best_mate = np.full(len(probes), -np.inf)
    np.maximum.at(best_mate, mates[0], listed_scores(probes, gallery, *mates))
    others, _ = highest_scores(probes, gallery, max(ranks), mates=mates, product=product)
    mated = np.isfinite(best_mate)
    rank = 1 + np.sum(others[mated] >= best_mate[mated, None], axis=1)
    found = np.sort(np.where(rank == 1, best_mate[mated], -np.inf))
    false = np.sort(others[~mated, 0])
    points = {float(fpir): IdentificationPoint(*operating_point(found, false, false.size, fpir)) for fpir in fpirs}
    return Identification(
        {number: float(np.mean(rank <= number)) for number in ranks}, points, int(mated.sum()), int(np.sum(~mated))
    )


def checked_ranks(ranks):
    """Ranks as a list of ints from 1 up."""
    ranks = list(ranks)
    if not ranks or any(rank != int(rank) or rank < 1 for rank in ranks):
        raise ValueError(f"ranks count from 1, got {ranks}.")
    return [int(rank) for rank in ranks]
