"""Closed-set identification among labelled images: who is enrolled, and who is searched."""

import numpy as np

from tfface.evaluation.metrics.identification import identify


def first_image_gallery(keys, labels):
    """Enrols the first image of every identity, by key, so that the order of the rows does not matter.

    Args:
      keys: str [N], all different.
      labels: int [N], identities.

    Returns:
      (gallery, probes): int64 rows of the enrolled images, one an identity, and of all others, both by key.
    """
    order = np.argsort(np.asarray(keys, dtype=str), kind="stable")
    first = np.unique(np.asarray(labels)[order], return_index=True)[1]
    enrolled = np.isin(np.arange(len(order)), first)
    return order[enrolled], order[~enrolled]


def identify_others(embeddings, keys, labels, max_rank=20):
    """Searches every image among the first images of all identities.

    Args:
      embeddings: float [N, D].
      keys: str [N], all different.
      labels: int [N], identities.
      max_rank: int; ranks from 1 to the smaller of this and the number of identities are measured.

    Returns:
      (Identification, number of identities in the gallery).

    Raises:
      ValueError: if every identity has a single image, or an embedding is zero or not finite.
    """
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    gallery, probes = first_image_gallery(keys, labels)
    if not len(probes):
        raise ValueError(f"identification needs an identity with two images, got {len(gallery)} with one each.")
    ranks = range(1, min(max_rank, len(gallery)) + 1)
    found = identify(embeddings[probes], labels[probes], embeddings[gallery], labels[gallery], ranks, fpirs=())
    return found, len(gallery)
