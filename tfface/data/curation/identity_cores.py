"""Cores of identities: the images of a label that agree with one another, and those of a second person under it."""

from collections.abc import Iterator

import numpy as np

from tfface.data.curation import score_ratio

_DRAWN = 1 << 20  # Pairs of images of different identities that are drawn.


class Spaces:
    """Embeddings of a dataset by one or more models, and which of them judges an identity.

    Args:
      vectors: list of float [N, D], one per model, in the same order of images.
      labels: int [N], from 0 to K - 1.
      fold: int [K], the index of the model that judges the identity.
    """

    def __init__(self, vectors: list[np.ndarray], labels: np.ndarray, fold: np.ndarray) -> None:
        self.vectors = [unit(one) for one in vectors]
        self.labels, self.fold, self.count = labels, fold, len(fold)
        # Images by label, so that an identity is a range of them.
        self._order = np.argsort(labels, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=self.count))])

    def images(self, identity: int) -> np.ndarray:
        """Returns the rows of an identity's images, int [n]."""
        return self._order[self._starts[identity] : self._starts[identity + 1]]

    def judged(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (model, positions in `rows`) for the images that each model judges."""
        fold = self.fold[self.labels[rows]]
        for model in range(len(self.vectors)):
            if (here := np.flatnonzero(fold == model)).size:
                yield model, here

    def own_vectors(self, identity: int) -> np.ndarray:
        """Returns the vectors of an identity's images by the model that judges it, [n, D]."""
        return self.vectors[self.fold[identity]][self.images(identity)]

    def sums(self, model: int, members: np.ndarray) -> np.ndarray:
        """Returns the sum of the vectors of the members (bool [N]) of every identity, float32 [K, D]."""
        sums = np.zeros([self.count, self.vectors[model].shape[1]], np.float32)
        np.add.at(sums, self.labels[members], self.vectors[model][members])
        return sums


def find_cores(spaces: Spaces, min_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the largest group of agreeing images of every identity, and the next one among the others.

    Two images agree if their score is likelier of one person than of two. Both densities are estimated, from all pairs
    within identities and from random pairs of others. How many images are right is not asked here: that would hide an
    identity of two people in a clean dataset. A group is an image with all that agree with it; mislabelled images do
    not agree with one another, so they may even be the majority.

    Args:
      spaces: `Spaces`.
      min_images: int, the fewest images of a second group.
      seed: int, of the random pairs.

    Returns:
      (first, second): bool [N] each, members of the two groups.
    """
    within = np.zeros(score_ratio.BINS)
    for identity in range(spaces.count):
        for _, scores in _pair_scores(spaces.own_vectors(identity)):
            within += score_ratio.histogram(scores)
        within[-1] -= len(spaces.images(identity))  # Each image with itself.
    within = np.maximum(within, 0)
    first, second = np.zeros(len(spaces.labels), bool), np.zeros(len(spaces.labels), bool)
    impostor = _impostor_histogram(spaces, seed)
    genuine = score_ratio.without_impostors(within, impostor)
    if not genuine.sum():  # No identity has two images that agree more than others.
        first[:] = True
        return first, second
    odds = score_ratio.likelihood_ratio(genuine, impostor)
    for identity in range(spaces.count):
        vectors, rows = spaces.own_vectors(identity), spaces.images(identity)
        core = _largest_group(vectors, odds)
        first[rows[core]] = True
        rest = np.flatnonzero(~core)
        if len(rest) >= min_images:
            group = rest[_largest_group(vectors[rest], odds)]
            second[rows[group]] = len(group) >= min_images
    return first, second


def halves(spaces: Spaces, members: np.ndarray, seed: int) -> np.ndarray:
    """Returns the cosines between the centres of two random halves of each identity's members (bool [N]).

    Returns:
      float64 [K], NaN where an identity has fewer than two members.
    """
    rng = np.random.default_rng(seed)
    scores = np.full(spaces.count, np.nan)
    for identity in range(spaces.count):
        vectors = spaces.own_vectors(identity)[members[spaces.images(identity)]]
        if len(vectors) > 1:
            vectors = vectors[rng.permutation(len(vectors))]
            one, other = vectors[: len(vectors) // 2].sum(0), vectors[len(vectors) // 2 :].sum(0)
            scores[identity] = cosines(one[None], other[None])[0]
    return scores


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns rows of unit length, float32 [n, D]; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the cosines of rows of two arrays [n, D], float64 [n]; 0 where a row is zero."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("nd,nd->n", left, right, dtype=np.float64) / np.where(lengths > 0, lengths, 1)


def _largest_group(vectors, odds):
    """Returns the image that most others agree with and these, bool [n]."""
    best, group = -1.0, np.zeros(len(vectors), bool)
    for start, scores in _pair_scores(vectors):
        agreement = odds[score_ratio.bins_of(scores)]
        totals = (agreement / (1 + agreement)).sum(1)
        row = int(np.argmax(totals))
        if totals[row] > best:
            best, group = totals[row], agreement[row] >= 1
            group[start + row] = True
    return group


def _pair_scores(vectors):
    """Yields (first row, scores of some rows with all)."""
    step = max(1, (1 << 22) // len(vectors))
    for start in range(0, len(vectors), step):
        yield start, np.clip(vectors[start : start + step] @ vectors.T, -1, 1)


def _impostor_histogram(spaces, seed):
    rng = np.random.default_rng(seed)
    counts = np.zeros(score_ratio.BINS)
    left, right = rng.integers(len(spaces.labels), size=(2, _DRAWN))
    apart = spaces.labels[left] != spaces.labels[right]
    left, right = left[apart], right[apart]
    for model, here in spaces.judged(left):
        for start in range(0, len(here), 1 << 14):
            part = here[start : start + (1 << 14)]
            vectors = spaces.vectors[model]
            counts += score_ratio.histogram(np.einsum("nd,nd->n", vectors[left[part]], vectors[right[part]]))
    return counts
