"""Verification pairs sampled from labelled images, for datasets without a published protocol."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from tfface.data.protocols.pairs import Pairs


def sample_pairs(
    keys: Sequence[str] | np.ndarray,
    labels: Sequence[int] | Sequence[str] | np.ndarray,
    count: int,
    seed: int,
    folds: int = 10,
) -> Pairs:
    """Samples a balanced verification protocol from labelled images.

    The folds share no identity. Identities are distributed by their number of images, so that every fold has about the
    same supply. Within a fold genuine pairs come first; every identity contributes the same number, as far as its
    images allow. For impostor pairs, the identities of the fold are arranged in a circle. So each appears equally
    often, and two identities meet again only after all have met. No pair occurs twice.

    Args:
      keys: str [N], distinct keys of the images.
      labels: int or str [N], their identities.
      count: total number of pairs, a multiple of 2 * folds; half are genuine.
      seed: int; the same arguments give the same pairs.
      folds: number of equally large, contiguous folds.

    Returns:
      Pairs.

    Raises:
      ValueError: if a key occurs twice, lengths or counts do not fit, or the identities of a fold have too few pairs.
    """
    keys, labels = np.asarray(keys, dtype=str), np.asarray(labels)
    if keys.ndim != 1 or keys.shape != labels.shape or len(np.unique(keys)) != len(keys):
        raise ValueError(f"`keys` and `labels` must be [N] with distinct keys, got {keys.shape} and {labels.shape}.")
    if folds < 1 or count < 1 or count % (2 * folds):
        raise ValueError(f"`count` must be a positive multiple of 2 * folds, got count={count}, folds={folds}.")
    identities_given = len(np.unique(labels))
    if identities_given < 2 * folds:
        most = identities_given // 2
        remedy = f"give folds={most} at most, and a multiple of {2 * most} pairs" if most else "give more identities"
        raise ValueError(f"each of {folds} folds needs two identities, got {identities_given}: {remedy}.")
    rng, per_class = np.random.default_rng(seed), count // (2 * folds)
    order, starts = np.argsort(labels, kind="stable"), np.unique(np.sort(labels), return_index=True)[1]
    images = np.split(order, starts[1:])
    identities = rng.permutation(len(images))
    identities = identities[np.argsort([-len(images[identity]) for identity in identities], kind="stable")]
    drawn = []
    for fold in range(folds):
        members = [images[identity] for identity in rng.permutation(identities[fold::folds])]
        genuine = [(member, member) for member in members if len(member) > 1]
        impostor = list(itertools.islice(_circle(members), per_class))
        drawn += _draw(genuine, per_class, rng, f"genuine pairs in fold {fold}")
        drawn += _draw(impostor, per_class, rng, f"impostor pairs in fold {fold}")
    left, right = np.transpose(drawn)
    block = np.arange(count) // per_class
    return Pairs(keys[left], keys[right], block % 2 == 0, block // 2)


def sample_most_pairs(
    keys: Sequence[str] | np.ndarray, labels: Sequence[int] | Sequence[str] | np.ndarray, most: int, seed: int
) -> Pairs:
    """Samples as many pairs as the images allow, in ten folds, five or two, whichever the identities suffice for.

    Args:
      keys, labels, seed: as for `sample_pairs`.
      most: int, largest number of pairs.

    Returns:
      Pairs.

    Raises:
      ValueError: as for `sample_pairs`, or the images are too few for any pairs.
    """
    if (identities := len(np.unique(np.asarray(labels)))) < 4:
        raise ValueError(f"no verification pairs can be drawn: two folds need four identities, got {identities}.")
    reason: Exception = ValueError(f"most={most} is too small.")
    # Ten folds need twenty identities; fewer folds let a small album of photos be verified too.
    for folds in (10, 5, 2):
        count = most // (2 * folds) * (2 * folds)
        while count:
            try:
                return sample_pairs(keys, labels, count, seed, folds)
            except ValueError as error:
                reason = error
                count = count // 2 // (2 * folds) * (2 * folds)
    raise ValueError(f"no verification pairs can be drawn: {reason}")


def _circle(members):
    """Yields every pair of members once, in an order in which all members occur equally often at any time."""
    size = len(members)
    for step in range(1, size // 2 + 1):
        for at in range(step if 2 * step == size else size):
            yield members[at], members[(at + step) % size]


def _draw(meetings, count, rng, purpose):
    """Draws `count` different image pairs, as evenly over the meetings (images, images) as their sizes allow."""
    supply = np.array([len(a) * (len(a) - 1) // 2 if a is b else len(a) * len(b) for a, b in meetings], dtype=np.int64)
    if supply.sum() < count:
        raise ValueError(f"the images allow only {supply.sum()} {purpose}, got a request for {count}.")
    share = np.zeros_like(supply)
    while rest := count - share.sum():
        hungry = np.flatnonzero(share < supply)[:rest]
        share[hungry] += np.minimum(rest // len(hungry), (supply - share)[hungry])
    drawn = []
    for (a, b), size, wanted in zip(meetings, supply.tolist(), share.tolist(), strict=True):
        for number in rng.choice(size, wanted, replace=False).tolist():
            if a is b:  # Pairs i < j are numbered (0,1), (0,2), (1,2), (0,3), ...
                j = (1 + math.isqrt(1 + 8 * number)) // 2
                i = number - j * (j - 1) // 2
            else:
                i, j = divmod(number, len(b))
            drawn.append((a[i], b[j]))
    return drawn
