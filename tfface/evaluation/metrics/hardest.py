"""The hardest pairs: those with the worst scores."""

from typing import NamedTuple

import numpy as np

from tfface.evaluation.metrics.pairs import Pairs
from tfface.evaluation.metrics.verification_result import VerificationResult


class ScoredPair(NamedTuple):
    """Two images and their cosine similarity."""

    left: str
    right: str
    score: float


def hardest_pairs(result: VerificationResult, pairs: Pairs, count: int) -> tuple[list[ScoredPair], list[ScoredPair]]:
    """Finds the genuine pairs with the lowest scores and the impostor pairs with the highest.

    Args:
      result: VerificationResult of the pairs.
      pairs: the pairs of the protocol.
      count: int, largest number of pairs of each kind.

    Returns:
      (genuine, impostor): lists of ScoredPair, the hardest first; equal scores in the protocol's order.

    Raises:
      ValueError: the result belongs to other pairs.
    """
    genuine, impostor = np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)
    if (len(genuine), len(impostor)) != (len(result.genuine_scores), len(result.impostor_scores)):
        raise ValueError(f"the result does not belong to these {len(pairs)} pairs.")

    def first(rows, scores, order):
        chosen = np.argsort(order, kind="stable")[:count]
        return [ScoredPair(str(pairs.left[rows[i]]), str(pairs.right[rows[i]]), float(scores[i])) for i in chosen]

    return (
        first(genuine, result.genuine_scores, result.genuine_scores),
        first(impostor, result.impostor_scores, -result.impostor_scores),
    )
