"""Retrieval: the ranks of a query's own identity in its ranking of a gallery."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from tfface.evaluation.exact.similarity import UnitVectors, checked_labels
from tfface.evaluation.metrics.identification import checked_ranks

# Number of exact scores in a block of queries: 0.25 GB.
_BLOCK_SCORES = 1 << 25


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieval:
    """Retrieval metrics, means over the queries that have a relevant item.

    Attributes:
      recall_at: dict from K to the fraction of queries with a relevant item among the K best.
      map: mean average precision over the whole ranking.
      map_at: dict from K to the mean average precision at K: the sum of the precisions at the relevant items among the
        K best, divided by the number of all relevant items. iQIYI-VID measures it with K = 100. A query with more than
        K relevant items cannot reach 1.
      map_at_r: mean of (1/R) times the sum of precisions at the relevant items among the R best, where R is the number
        of the query's relevant items.
      queries: int, number of queries with a relevant item.
      without_match: int, number of queries left out because they have no relevant item.
    """

    recall_at: dict[int, float]
    map: float
    map_at: dict[int, float]
    map_at_r: float
    queries: int
    without_match: int


def retrieve(
    queries: np.ndarray,
    query_labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    recall_at: Iterable[int] = (1, 10, 100),
    map_at: Iterable[int] = (100,),
    progress: Callable[[Iterable], Iterable] = iter,
) -> Retrieval:
    """Ranks a gallery for every query by exact cosine similarity and measures the ranks of the relevant items.

    Items with the query's label are relevant. Ties count as errors: an irrelevant item ranks above a relevant one of
    the same score. In-Shop and iQIYI-VID have a gallery (in iQIYI-VID the queries are people, such as the centres of
    their training videos); without one, every query searches all other queries, as in SOP.

    Args:
      queries: float [Q, D], of any positive lengths.
      query_labels: int or str [Q].
      gallery: float [N, D].
      gallery_labels: int or str [N].
      recall_at: ints from 1 up.
      map_at: ints from 1 up.
      progress: function around the list of blocks of queries, such as `tfface.progress.bar`.

    Returns:
      Retrieval.

    Raises:
      ValueError: no query has a relevant item, a K is out of its range, shapes or types do not fit, or an embedding
        is zero or not finite.

    Reference:
      Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016 (Recall@K); Liu et al.,
      iQIYI-VID: A Large Dataset for Multi-modal Person Identification, 2018 (MAP@100); Musgrave, Belongie and Lim, A
      Metric Learning Reality Check, ECCV 2020 (MAP@R).
    """
    if (gallery is None) != (gallery_labels is None):
        raise ValueError("`gallery` and `gallery_labels` must be given together, got only one of them.")
    vectors = UnitVectors(queries, "queries")
    labels = checked_labels(query_labels, len(vectors), "query_labels")
    items, item_labels, itself = vectors, labels, True
    if gallery is not None and gallery_labels is not None:
        items = UnitVectors(gallery, "gallery", dim=vectors.dim)
        item_labels, itself = checked_labels(gallery_labels, len(items), "gallery_labels"), False
    recall_at, map_at = checked_ranks(recall_at), checked_ranks(map_at)
    rows = []
    for positions in _positions(vectors, labels, items, item_labels, itself, progress):
        precisions = np.arange(1, positions.size + 1) / positions
        within = [precisions[positions <= limit].sum() for limit in (len(items), *map_at, positions.size)]
        rows.append([*(positions[0] <= limit for limit in recall_at), *(np.array(within) / positions.size)])
    if not rows:
        raise ValueError(f"none of the {len(vectors)} queries has a relevant item.")
    recalls, (whole, *limited, at_r) = np.split(np.mean(rows, axis=0), [len(recall_at)])
    return Retrieval(
        dict(zip(recall_at, map(float, recalls), strict=True)),
        float(whole),
        dict(zip(map_at, map(float, limited), strict=True)),
        float(at_r),
        len(rows),
        len(vectors) - len(rows),
    )


def _positions(queries, labels, items, item_labels, itself, progress):
    """Yields per query with relevant items their rising ranks, int from 1 up."""
    height = max(1, _BLOCK_SCORES // len(items))
    for start in progress(range(0, len(queries), height)):
        rows = slice(start, start + height)
        block = queries.exact(rows)
        scores = np.empty((len(block), len(items)))
        for column in range(0, len(items), 1024):
            columns = slice(column, column + 1024)
            scores[:, columns] = block @ items.exact(columns).T
        relevant = labels[rows, None] == item_labels
        if itself:
            own = np.arange(len(block)), start + np.arange(len(block))
            relevant[own], scores[own] = False, -np.inf
        for line, wanted in zip(scores, relevant, strict=True):
            found = np.sort(line[wanted])[::-1]
            if found.size:
                others = np.sort(line[~wanted])
                yield np.arange(1, found.size + 1) + others.size - np.searchsorted(others, found, "left")
