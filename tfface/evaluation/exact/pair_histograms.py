"""Histograms of the scores of all genuine pairs and of random impostor pairs, counted in bounded memory."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfface.evaluation.exact.similarity import UnitVectors, checked_labels, listed_scores, same_label_pairs

_ROWS = 1024
_PAIRS_AT_ONCE = 1 << 18


class PairCounts(NamedTuple):
    """Histograms of the cosine similarities of genuine and of impostor pairs.

    Attributes:
      genuine: int64 [bins].
      impostor: int64 [bins].
      edges: float64 [bins + 1], rising cosines; a bin includes its lower edge, and the last bin both edges.
    """

    genuine: np.ndarray
    impostor: np.ndarray
    edges: np.ndarray


def count_pairs(
    embeddings: np.ndarray, labels: np.ndarray, edges: np.ndarray, impostors: int = 500_000, seed: int = 0
) -> PairCounts:
    """Counts the exact cosine similarities of every genuine pair and of impostor pairs drawn at random.

    Args:
      embeddings: float [N, D], of any positive lengths.
      labels: int or str [N]; a genuine pair has equal labels.
      edges: float [bins + 1], rising, from at most -1 to at least 1.
      impostors: int, number of impostor pairs drawn, with replacement; all of them, each once, if there are no more.
      seed: int, seed of the draw.

    Returns:
      PairCounts.

    Raises:
      ValueError: there is no genuine or no impostor pair, a value is out of its range, shapes or types do not fit, or
        an embedding is zero or not finite.
    """
    edges = np.asarray(edges, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all() or edges[0] > -1 or edges[-1] < 1:
        raise ValueError(f"`edges` must rise from at most -1 to at least 1, got {edges}.")
    if impostors < 1:
        raise ValueError(f"`impostors` must be at least 1, got {impostors}.")
    labels = checked_labels(labels, len(embeddings), "labels")
    vectors = UnitVectors(embeddings)
    person = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(person)
    genuine = int(np.sum(sizes * (sizes - 1) // 2))
    others = math.comb(len(vectors), 2) - genuine
    if not genuine or not others:
        raise ValueError(f"genuine and impostor pairs are needed, got {genuine} and {others}.")
    drawn = _all_impostors(person) if others <= impostors else _drawn_impostors(person, impostors, seed)
    return PairCounts(_count(vectors, _genuine(person), edges), _count(vectors, drawn, edges), edges)


def _count(vectors, pairs, edges):
    counts = np.zeros(len(edges) - 1, np.int64)
    for left, right in pairs:
        for start in range(0, len(left), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            # The sum cannot round, but the rounded vectors may be longer than 1.
            scores = np.clip(listed_scores(vectors, vectors, left[part], right[part]), -1, 1)
            counts += np.histogram(scores, edges)[0]
    return counts


def _genuine(person) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(person), _ROWS):
        left, right = same_label_pairs(person[start : start + _ROWS], person)
        once = left + start < right
        yield left[once] + start, right[once]


def _all_impostors(person) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rows = max(1, _PAIRS_AT_ONCE // len(person))
    for start in range(0, len(person), rows):
        block = person[start : start + rows]
        apart = (block[:, None] != person) & (np.arange(start, start + len(block))[:, None] < np.arange(len(person)))
        left, right = np.nonzero(apart)
        yield left + start, right


def _drawn_impostors(person, count, seed) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    while count:
        left, right = rng.integers(len(person), size=(2, _PAIRS_AT_ONCE))
        apart = np.flatnonzero(person[left] != person[right])[:count]
        count -= len(apart)
        yield left[apart], right[apart]
