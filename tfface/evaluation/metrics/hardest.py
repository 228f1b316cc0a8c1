"""The pairs that a model gets most wrong."""

from typing import NamedTuple

import numpy as np


class ScoredPair(NamedTuple):
    """Two images and their cosine similarity."""

    left: str
    right: str
    score: float


def hardest_pairs(result, pairs, count):
    """Finds the genuine pairs that look least alike to a model and the impostor pairs that look most alike.

    Args:
      result: VerificationResult of the pairs.
      pairs: tfface.data.protocols.pair_lists.Pairs.
      count: int, pairs of each kind at most.

    Returns:
      (genuine, impostor): lists of ScoredPair, the hardest first; equal scores in the protocol's order.

    Raises:
      ValueError: if the result is of other pairs.
    """
    genuine, impostor = np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)
    if (len(genuine), len(impostor)) != (len(result.genuine_scores), len(result.impostor_scores)):
        raise ValueError(f"the result is not of these {len(pairs)} pairs.")

    def first(places, scores, order):
        chosen = np.argsort(order, kind="stable")[:count]
        return [ScoredPair(str(pairs.left[places[i]]), str(pairs.right[places[i]]), float(scores[i])) for i in chosen]

    return (
        first(genuine, result.genuine_scores, result.genuine_scores),
        first(impostor, result.impostor_scores, -result.impostor_scores),
    )
