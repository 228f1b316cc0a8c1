"""Which images of a dataset have the wrong label, which identities are two people, and which pairs of them are one.

The model of an image with label a: it shows a, or a second person under the same label, or one of the other K - 1
identities, or nobody in the dataset. Its cosine to the centre of whom it shows is a genuine score, all others are
impostor scores. The densities of both and the shares of the four cases are estimated from the dataset, by expectation
maximisation; so every proposal comes with its probability of being wrong, and a threshold is an error rate.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfface.data.curation import score_ratio
from tfface.data.curation.identity_cores import Spaces, cosines, find_cores, halves, unit
from tfface.data.curation.image_cases import MASKED, fit_cases
from tfface.evaluation.exact.similarity import same_label_pairs

_NEAREST = 4  # Other identities that an image or identity is compared with in detail; the rest only count as impostors.
_AT_ONCE = 1 << 22  # Scores in memory.


@dataclasses.dataclass(frozen=True)
class Refinement:
    """Probabilities of what N images and K identities show.

    Attributes:
      own: float64 [N], that the image shows its label.
      second: float64 [N], that it shows a second person under this label.
      other: int64 [N], the most probable other identity.
      moved: float64 [N], that it shows that one; the rest of the probability is nobody in the dataset, or further ones.
      score: float64 [N], cosine to the centre of the label, without the image itself; NaN where no other image is.
      two: float64 [K], that the label is two people; 0 where there is no second group of images.
      pairs: int64 [P, 2], pairs of identities that may be one person.
      same: float64 [P], that they are.
      core: bool [N], the images that make the centres.
      shares: estimated shares of images that show their label, a second person, another identity, and nobody.
      ratio: float64 [BINS], likelihood ratio of scores of images to centres; see `score_ratio.likelihood_ratio`.
      pair_ratio: float64 [BINS], that of scores between centres.
      rounds: number of times that the centres were computed.
    """

    own: np.ndarray
    second: np.ndarray
    other: np.ndarray
    moved: np.ndarray
    score: np.ndarray
    two: np.ndarray
    pairs: np.ndarray
    same: np.ndarray
    core: np.ndarray
    shares: dict[str, float]
    ratio: np.ndarray
    pair_ratio: np.ndarray
    rounds: int


def refine(
    vectors: Sequence[np.ndarray],
    labels: np.ndarray,
    fold: np.ndarray | None = None,
    *,
    min_images: int = 3,
    most_rounds: int = 10,
    seed: int = 0,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Refinement:
    """Estimates what the images of a dataset show.

    1. The core of each identity is its largest group of images that agree with one another (`find_cores`).
    2. Centres are the mean vectors of the cores. Identities are compared by their centres; each image with that of its
       label, computed without the image, and with all others.
    3. Images that more probably show their label than not are the new cores. Steps 2 and 3 are repeated until the cores
       stay, or `most_rounds` times.

    Args:
      vectors: one float [N, D] of embeddings, or several by models of which each was trained without some identities,
        all in the order of `labels`. A row of zeros resembles nothing.
      labels: int [N], from 0 to K - 1; every one occurs.
      fold: int [K], the index in `vectors` of the model that saw no image of the identity in training: it alone judges
        the identity's images. Default: the first model judges all.
      min_images: int >= 2, the fewest images that make a second person.
      most_rounds: int >= 1.
      seed: int, of random pairs and halves.
      progress: function around the list of blocks, such as `tfface.progress.bar`.

    Returns:
      `Refinement`.

    Raises:
      ValueError: shapes or types do not fit, a vector is not finite, there is one identity, or none has two images.
    """
    labels = np.asarray(labels)
    _check(vectors, labels, min_images, most_rounds)
    count = int(labels.max()) + 1
    spaces = Spaces(list(vectors), labels, _checked_fold(fold, count, len(vectors)))
    first, second = find_cores(spaces, min_images, seed)
    for rounds in range(1, most_rounds + 1):
        found = dataclasses.replace(_judge(spaces, first, second, min_images, seed, progress), rounds=rounds)
        # An identity of which no image would be left keeps its core: there is nothing better.
        core = found.own >= 0.5
        lost = np.bincount(labels[core], minlength=count) == 0
        core |= first & lost[labels]
        group = (found.second >= 0.5) & ~core
        if (core == first).all() and (group == second).all():
            break
        first, second = core, group
    return found


def _judge(spaces, first, second, min_images, seed, progress):
    """Computes centres and all probabilities, given the two groups of every identity."""
    labels, count = spaces.labels, spaces.count
    sums = [spaces.sums(model, first) for model in range(len(spaces.vectors))]
    seconds = np.bincount(labels[second], minlength=count) >= min_images
    second = second & seconds[labels]
    second_sums = [spaces.sums(model, second) for model in range(len(spaces.vectors))]

    pairs, same, pair_ratio = _same_pairs(spaces, sums, halves(spaces, first, seed), progress)
    # A second group that resembles the first one belongs to it; one that resembles another identity is moved there.
    between = np.full(count, np.nan)
    for model, centres in enumerate(sums):
        here = seconds & (spaces.fold == model)
        between[here] = cosines(centres[here], second_sums[model][here])
    odds = pair_ratio[score_ratio.bins_of(np.nan_to_num(between))]
    two = np.where(seconds, 1 / (1 + odds), 0.0)
    strangers = _nearest_of_seconds(spaces, sums, second_sums, seconds)
    seconds &= (two > 0.5) & (pair_ratio[score_ratio.bins_of(strangers)] < count)
    two[~seconds] = 0
    second = second & seconds[labels]

    own, with_second = _own_scores(spaces, sums, first), np.full(len(labels), np.nan)
    chosen = np.flatnonzero(seconds[labels])
    with_second[chosen] = _own_scores(spaces, second_sums, second, chosen)
    groups = _joined(count, pairs[same >= 0.5])
    impostor, scores, nearest = _scan(spaces, sums, groups, progress)
    shares, ratio, probabilities = fit_cases(own, with_second, scores, impostor, count)
    best = np.argmax(probabilities["others"], axis=1)
    rows = np.arange(len(labels))
    return Refinement(
        own=probabilities["own"],
        second=probabilities["second"],
        other=nearest[rows, best],
        moved=probabilities["others"][rows, best],
        score=own,
        two=two,
        pairs=pairs,
        same=same,
        core=first,
        shares=shares,
        ratio=ratio,
        pair_ratio=pair_ratio,
        rounds=0,
    )


def _own_scores(spaces, sums, members, rows=None):
    """Returns cosines of images to the centres of their own group, without themselves if they are members."""
    rows = np.arange(len(spaces.labels)) if rows is None else rows
    scores = np.full(len(rows), np.nan)
    sizes = np.bincount(spaces.labels[members], minlength=spaces.count)
    for model, here in spaces.judged(rows):
        for start in range(0, len(here), 1 << 14):
            part = here[start : start + (1 << 14)]
            some = rows[part]
            vectors, labels = spaces.vectors[model][some], spaces.labels[some]
            centres = sums[model][labels] - vectors * members[some][:, None]
            scores[part] = np.where(sizes[labels] > members[some], cosines(vectors, centres), np.nan)
    return scores


def _scan(spaces, sums, groups, progress):
    """Compares all images with all centres of other groups.

    Returns:
      (histogram of all scores, float64 [N, M] the highest scores of each image, int64 [N, M] their identities).
    """
    keep = min(_NEAREST, spaces.count)
    counts = np.zeros(score_ratio.BINS)
    best = np.full([len(spaces.labels), keep], MASKED)
    nearest = np.zeros([len(spaces.labels), keep], np.int64)
    step = max(1, _AT_ONCE // spaces.count)
    blocks = [
        (model, here[start : start + step])
        for model, here in spaces.judged(np.arange(len(spaces.labels)))
        for start in range(0, len(here), step)
    ]
    centres = [unit(one) for one in sums]
    for model, rows in progress(blocks):
        scores = spaces.vectors[model][rows] @ centres[model].T
        _keep_highest(scores, groups[spaces.labels[rows]], groups, rows, counts, best, nearest)
    return counts, best, nearest


def _same_pairs(spaces, sums, genuine_scores, progress):
    """Compares the centres of all pairs of identities.

    Returns:
      (int64 [P, 2] pairs, float64 [P] the probability that they are one person, likelihood ratio).
    """
    count, keep = spaces.count, min(_NEAREST, spaces.count)
    impostor, identities = np.zeros(score_ratio.BINS), np.arange(spaces.count)
    best, nearest = np.full([count, keep], MASKED), np.zeros([count, keep], np.int64)
    centres = [unit(one) for one in sums]
    for start in progress(range(0, count, step := max(1, _AT_ONCE // count))):
        rows = identities[start : start + step]
        scores = np.zeros([len(rows), count], np.float32)
        for model, some in enumerate(centres):
            # The mean over the models that judge the two: neither has seen both, if the folds differ.
            weight = (spaces.fold[rows] == model)[:, None] / 2 + (spaces.fold == model) / 2
            scores += weight * (some[rows] @ some.T)
        _keep_highest(scores, rows, identities, rows, impostor, best, nearest)
    impostor /= 2  # Every pair was met from both sides.
    left, right = np.repeat(identities, keep), nearest.ravel()
    met = best.ravel() > MASKED
    one, other = np.minimum(left, right)[met], np.maximum(left, right)[met]
    pairs, where = np.unique(np.stack([one, other], 1), axis=0, return_index=True)
    bins = score_ratio.bins_of(best.ravel()[met][where])
    halves_seen = score_ratio.histogram(genuine_scores[np.isfinite(genuine_scores)])
    if not halves_seen.sum():
        return pairs[:0], np.zeros(0), np.ones(score_ratio.BINS)
    same = score_ratio.probability_beyond(impostor)[bins]
    return pairs, same, score_ratio.likelihood_ratio(halves_seen, impostor)


def _nearest_of_seconds(spaces, sums, second_sums, seconds):
    """Returns the highest cosine of each second centre to the centres of other identities, float64 [K]."""
    highest = np.full(spaces.count, MASKED)
    for model, centres in enumerate(sums):
        rows = np.flatnonzero(seconds & (spaces.fold == model))
        step = max(1, _AT_ONCE // spaces.count)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            scores = unit(second_sums[model][some]) @ unit(centres).T
            scores[np.arange(len(some)), some] = MASKED
            highest[some] = scores.max(1)
    return highest


def _keep_highest(scores, query_groups, groups, rows, counts, best, nearest):
    """Counts the scores of queries with other groups, and keeps the highest of each query."""
    masked = same_label_pairs(query_groups, groups)
    scores[masked] = MASKED
    counts += score_ratio.histogram(scores)
    counts[0] -= len(masked[0])
    keep = best.shape[1]
    columns = np.argpartition(scores, -keep, axis=1)[:, -keep:]
    best[rows], nearest[rows] = np.take_along_axis(scores, columns, 1), columns


def _joined(count, pairs):
    """Returns the group, int [K], of every identity: those that pairs connect have the same."""
    groups = np.arange(count)
    while len(pairs):
        before = groups.copy()
        np.minimum.at(groups, pairs[:, 0], before[pairs[:, 1]])
        np.minimum.at(groups, pairs[:, 1], before[pairs[:, 0]])
        if (groups == before).all():
            break
    return groups


def _check(vectors, labels, min_images, most_rounds):
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise ValueError(f"`labels` must be int [N] with N > 0, got {labels.dtype} {labels.shape}.")
    sizes = np.bincount(labels) if labels.min() >= 0 else np.zeros(1, int)
    if not sizes.all() or len(sizes) < 2:
        raise ValueError(
            f"`labels` must be 0 to K - 1 for two or more identities, each with an image, got {labels.min()} to "
            f"{labels.max()} and {np.count_nonzero(sizes == 0)} without one."
        )
    if sizes.max() < 2:
        raise ValueError("all identities have one image: nothing tells whether it belongs to them.")
    if not vectors:
        raise ValueError("`vectors` must hold one array of embeddings or more, got none.")
    for one in vectors:
        if one.ndim != 2 or len(one) != len(labels) or one.dtype.kind != "f":
            raise ValueError(f"`vectors` must be float [{len(labels)}, D], got {one.dtype} {one.shape}.")
        if not (finite := np.isfinite(one).all(axis=1)).all():
            raise ValueError(f"`vectors` must be finite, got NaN or infinity in row {np.argmin(finite)}.")
    if min_images < 2 or most_rounds < 1:
        raise ValueError(
            f"`min_images` must be at least 2 and `most_rounds` at least 1, got {min_images} and {most_rounds}."
        )


def _checked_fold(fold, count, models):
    fold = np.zeros(count, np.int64) if fold is None else np.asarray(fold)
    if fold.shape != (count,) or fold.dtype.kind not in "iu" or fold.min() < 0 or fold.max() >= models:
        raise ValueError(f"`fold` must be int [{count}] from 0 to {models - 1}, got {fold.dtype} {fold.shape}.")
    return fold
