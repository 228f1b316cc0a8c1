"""How much likelier a cosine is between images of one person than between two people, counted from a dataset itself."""

import numpy as np

BINS = 512


def bins_of(scores: np.ndarray) -> np.ndarray:
    """Returns the bin, int64 of the same shape, of every cosine; values outside [-1, 1] get the nearest bin."""
    return np.clip((np.asarray(scores) + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64)


def histogram(scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Counts scores, or sums their weights, per bin: float64 [BINS]."""
    weights = None if weights is None else np.ravel(weights)
    return np.bincount(bins_of(np.ravel(scores)), weights, BINS).astype(np.float64)


def without_impostors(own: np.ndarray, impostor: np.ndarray) -> np.ndarray:
    """Removes the impostors from a histogram of scores that should be genuine.

    Low scores are impostors'. How many of them there are is told by the threshold, from the 10 % quantile of impostor
    scores to their median, that allows the fewest: with a standard deviation more, scores below it are their share.

    Args:
      own: float [BINS], scores between images and their labels.
      impostor: float [BINS], scores between different labels.

    Returns:
      float64 [BINS], the genuine scores among `own`.

    Reference:
      Storey, A direct approach to false discovery rates, 2002: the share of nulls.
    """
    share, below = np.cumsum(impostor) / impostor.sum(), np.cumsum(own)
    # A bin may hold more than half of all.
    use = np.arange(np.searchsorted(share, 0.1), np.searchsorted(share, 0.5) + 1)
    counts = (below + np.sqrt(below))[use] / share[use]
    count, lowest = min(counts.min(), own.sum()), use[int(np.argmin(counts))]
    genuine = np.maximum(own - count * impostor / impostor.sum(), 0)
    genuine[: lowest + 1] = 0
    return genuine * (own.sum() - count) / max(genuine.sum(), 1)


def likelihood_ratio(genuine: np.ndarray, impostor: np.ndarray) -> np.ndarray:
    """Estimates the density of genuine scores divided by that of impostor scores.

    The ratio never falls with the score: it is the isotonic regression of the share of genuine scores per bin. To each
    histogram one score is added, spread like the other one. So the ratio is at most the number of impostor scores and
    at least one by that of genuine scores; what was never seen is not impossible.

    Args:
      genuine, impostor: float [BINS], each with a positive sum.

    Returns:
      float64 [BINS], positive.
    """
    genuine, impostor = genuine + impostor / impostor.sum(), impostor + genuine / genuine.sum()
    seen = np.flatnonzero(genuine + impostor)
    both = (genuine + impostor)[seen]
    share = _isotonic(genuine[seen] / both, both)
    return _spread(share / (1 - share) * (impostor.sum() / genuine.sum()), seen)


def probability_beyond(mixed: np.ndarray) -> np.ndarray:
    """Estimates how probably a score is no impostor, where nearly all scores are impostors'.

    Above their 99 % quantile, impostor scores are taken to become fewer exponentially, as fast as between the 90 % and
    the 99 % quantile. Whatever is there beyond them is genuine. The tail of a normal distribution is shorter, so the
    estimate is cautious.

    Args:
      mixed: float [BINS], with a positive sum; genuine scores may be less than 1 % of it.

    Returns:
      float64 [BINS], from 0 to 1, never falling with the score.

    Reference:
      Pickands, Statistical inference using extreme order statistics, 1975: tails beyond a high threshold.
    """
    total = mixed.sum()
    above = np.cumsum(mixed[::-1])[::-1]
    low, high = (int(np.sum(above > share * total)) - 1 for share in (0.1, 0.01))
    if high <= low:
        return np.zeros(BINS)
    slope = np.log(above[low] / above[high]) / (high - low)
    tail = above[high] * np.exp(-slope * (np.arange(BINS + 1) - high))
    expected = np.where(np.arange(BINS) < high, mixed, tail[:-1] - tail[1:])
    seen = np.flatnonzero(expected + mixed)
    share = _isotonic((mixed / (expected + mixed + (expected + mixed == 0)))[seen], (expected + mixed)[seen])
    return _spread(1 - np.minimum((1 - share) / np.maximum(share, 0.5), 1), seen)


def _spread(values, seen):
    """Gives a bin without scores the value of the nearest one below, or of the lowest."""
    return values[np.maximum(np.searchsorted(seen, np.arange(BINS), "right") - 1, 0)]


def _isotonic(values, weights):
    """Returns the nondecreasing sequence that is nearest by weighted squares (pool adjacent violators)."""
    blocks: list[list[float]] = []  # [mean, weight, length], rising by mean.
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        length = 1
        while blocks and blocks[-1][0] >= value:
            mean, other, count = blocks.pop()
            value = (value * weight + mean * other) / (weight + other)
            weight, length = weight + other, length + count
        blocks.append([value, weight, length])
    means, _, lengths = zip(*blocks, strict=True)
    return np.repeat(means, np.array(lengths, np.int64))
