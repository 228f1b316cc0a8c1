"""Closed-set identification among labelled images: the choice of gallery and probes."""

from collections.abc import Sequence

import numpy as np

from tfface.evaluation.metrics.identification import Identification, identify


def first_image_gallery(keys: Sequence[str], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Enrols the image of every identity with the first key, so that the order of the rows does not matter.

    Args:
      keys: str [N], all different.
      labels: int [N], identities.

    Returns:
      (gallery, probes): int64 rows of the enrolled images, one per identity, and of all others, both sorted by key.
    """
    order = np.argsort(np.asarray(keys, dtype=str), kind="stable")
    first = np.unique(np.asarray(labels)[order], return_index=True)[1]
    enrolled = np.isin(np.arange(len(order)), first)
    return order[enrolled], order[~enrolled]


def identify_others(
    embeddings: np.ndarray, keys: Sequence[str], labels: np.ndarray, max_rank: int = 20
) -> tuple[Identification, int]:
    """Searches every other image in a gallery of the first image per identity.

    Args:
      embeddings: float [N, D].
      keys: str [N], all different.
      labels: int [N], identities.
      max_rank: int; ranks from 1 to the smaller of this and the number of identities are measured.

    Returns:
      (Identification, number of identities in the gallery).

    Raises:
      ValueError: every identity has a single image, or an embedding is zero or not finite.
    """
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    gallery, probes = first_image_gallery(keys, labels)
    if not len(probes):
        raise ValueError(f"identification needs an identity with two images, got {len(gallery)} with one each.")
    ranks = range(1, min(max_rank, len(gallery)) + 1)
    found = identify(embeddings[probes], labels[probes], embeddings[gallery], labels[gallery], ranks, fpirs=())
    return found, len(gallery)
