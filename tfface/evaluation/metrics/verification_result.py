"""Results of a verification protocol."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from tfface.evaluation.metrics.completeness import Completeness
from tfface.evaluation.metrics.verification import FoldAccuracy, OperatingPoint


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class VerificationResult:
    """Results of a verification protocol for a set of embeddings.

    Attributes:
      name: str, name of the protocol or model, for tables and plots.
      accuracy: FoldAccuracy, the cross-validated accuracy.
      auc: area under the ROC, float.
      eer: equal error rate, float.
      tar_at_far: dict from FAR to OperatingPoint.
      threshold: float, the threshold with the most correct decisions over all pairs, for use on new images; `accuracy`
        is measured at the threshold of each fold instead.
      genuine_scores: float64 [G], cosine similarities of the genuine pairs, in the protocol's order.
      impostor_scores: float64 [I], cosine similarities of the impostor pairs.
      completeness: how much of an official list was measured; None for pairs of another origin.
    """

    name: str
    accuracy: FoldAccuracy
    auc: float
    eer: float
    tar_at_far: dict[float, OperatingPoint]
    threshold: float
    genuine_scores: np.ndarray
    impostor_scores: np.ndarray
    completeness: Completeness | None = None

    def __repr__(self) -> str:
        """Returns one line without the scores."""
        return (
            f"VerificationResult({self.name!r}: accuracy {100 * self.accuracy.mean:.2f} ± "
            f"{100 * self.accuracy.std:.2f} %, AUC {self.auc:.4f}, EER {100 * self.eer:.2f} %, "
            f"{len(self.genuine_scores)} genuine and {len(self.impostor_scores)} impostor pairs)"
        )


def several(results: VerificationResult | Iterable[VerificationResult]) -> list[VerificationResult]:
    """Returns one result or many as a list, because a notebook has one at hand and a report many."""
    return [results] if isinstance(results, VerificationResult) else list(results)
