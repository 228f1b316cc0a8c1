"""Galleries of labelled images: the choice of gallery and probes, and the people whom a probe resembles."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfface.evaluation.exact.similarity import UnitVectors, checked_labels
from tfface.evaluation.metrics.identification import Identification, identify

_ROWS = 4096


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


class NearPerson(NamedTuple):
    """A person of a gallery whom a probe resembles.

    Attributes:
      label: int or str, the person.
      score: float, the highest cosine similarity of the probe and an image of the person.
      row: int, the row of that image in the gallery.
    """

    label: int | str
    score: float
    row: int


def nearest_people(
    probes: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray, count: int = 5
) -> list[list[NearPerson]]:
    """Finds the people of a gallery whom each probe resembles most: who is this?

    Whether the first one is the same person is a question of a threshold, such as that of a FAR. The FAR of a
    comparison is not that of a search: a stranger is compared with everybody in the gallery.

    Args:
      probes: float [P, D], of any positive lengths.
      gallery: float [N, D].
      gallery_labels: int or str [N]; a person may have several images.
      count: int >= 1, number of people per probe; fewer if the gallery has fewer.

    Returns:
      Per probe, its list of `NearPerson`, the most similar first; people of the same score in the order of their
      labels. Scores are exact, as those of `pair_scores`.

    Raises:
      ValueError: the count is below 1, shapes or types do not fit, or an embedding is zero or not finite.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    left = UnitVectors(probes, "probes")
    right = UnitVectors(gallery, "gallery", dim=left.dim)
    labels = checked_labels(gallery_labels, len(right), "gallery_labels")
    people, person = np.unique(labels, return_inverse=True)
    found = []
    for number in range(len(left)):
        probe = left.exact(slice(number, number + 1))
        blocks = (right.exact(slice(start, start + _ROWS)) @ probe[0] for start in range(0, len(right), _ROWS))
        scores = np.concatenate(list(blocks))
        # By score, and then in the order of the gallery; the first image of each person is the best one.
        order = np.argsort(-scores, kind="stable")
        best = order[np.unique(person[order], return_index=True)[1]]
        nearest = best[np.argsort(-scores[best], kind="stable")][:count]
        found.append([NearPerson(people[person[row]].item(), float(scores[row]), int(row)) for row in nearest])
    return found
