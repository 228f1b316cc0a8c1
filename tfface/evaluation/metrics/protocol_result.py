"""Results of a protocol that is more than pairs of images: named rates, their counts and their curves."""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfface.evaluation.metrics.completeness import Completeness
from tfface.evaluation.metrics.verification import operating_point

_POINTS = 500


class Curve(NamedTuple):
    """A curve of a result.

    Attributes:
      kind: "ROC" (FAR, TAR), "CMC" (rank, fraction of probes found) or "DET" (FPIR, FNIR).
      x, y: lists of float, of the same length.
    """

    kind: str
    x: list[float]
    y: list[float]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ProtocolResult:
    """Results of a protocol for a set of embeddings.

    Attributes:
      name: str, name of the protocol in the papers, such as "IJB-C".
      rates: dict from measure, such as "TAR@1e-4" or "rank-1", to a fraction; NaN where it cannot be measured.
      counts: dict from what was counted, such as "genuine pairs", to an int.
      settings: dict of what the rates depend on beside the embeddings, such as the pooling.
      completeness: what there is of the protocol's images and pairs.
      curves: dict from name to `Curve`.
    """

    name: str
    rates: dict[str, float]
    counts: dict[str, int]
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    completeness: tuple[Completeness, ...] = ()
    curves: dict[str, Curve] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        """Returns one line without the curves."""
        rates = ", ".join(f"{measure} {percent(rate)} %" for measure, rate in self.rates.items())
        return f"ProtocolResult({self.name!r}: {rates})"


def percent(rate: float) -> str:
    """Formats a rate in percent, or "n/a" if it could not be measured."""
    return "n/a" if np.isnan(rate) else f"{100 * rate:.2f}"


def at(far: float) -> str:
    """Names a FAR, FPR or FPIR as tables of papers do: "@1e-4"."""
    return f"@{far:.0e}".replace("e-0", "e-")


def roc_curve(genuine: np.ndarray, impostor: np.ndarray, impostors: int | None = None) -> Curve:
    """Makes an ROC of at most 500 points, from the FAR of one impostor on.

    Args:
      genuine: float [G], scores.
      impostor: float [I], scores; the highest of them suffice for the low FARs.
      impostors: int, number of all impostors; default: I.
    """
    genuine, impostor, impostors = np.sort(genuine), np.sort(impostor), impostors or len(impostor)
    # The highest refused impostor has to be known, unless all are.
    most = len(impostor) if len(impostor) == impostors else len(impostor) - 1
    counts = np.unique(np.geomspace(1, most, _POINTS).astype(np.int64)) if most > 0 else []
    points = [operating_point(genuine, impostor, impostors, count / impostors) for count in counts]
    return Curve("ROC", [point.measured_far for point in points], [point.tar for point in points])


def det_curve(hit_scores: np.ndarray, false_scores: np.ndarray) -> Curve:
    """Makes the DET of an identification, of at most 500 points, from the FPIR of one probe on.

    Args:
      hit_scores: float [M], score of each mated probe with its mate, -inf unless that is at rank 1.
      false_scores: float [N], highest score of each non-mated probe; without any there are no points.
    """
    if not len(hit_scores):
        return Curve("DET", [], [])
    roc = roc_curve(hit_scores, false_scores)
    return Curve("DET", roc.x, [1 - rate for rate in roc.y])
