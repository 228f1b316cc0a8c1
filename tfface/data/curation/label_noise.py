"""Label noise, to measure the robustness of losses."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable

from tfface.data.sources.base import Item


def shuffle_labels(items: Iterable[Item], fraction: float, seed: int = 0) -> list[Item]:
    """Permutes a share of the labels of every class; each class keeps its number of images.

    For every identity with n images, round(fraction * n) images are chosen. The labels of all chosen images are then
    permuted. A chosen image may get its own label back; among K classes of similar size this happens to one in K. The
    choice and the permutation depend on the seed and the keys alone.

    Args:
      items: iterable of `tfface.data.sources.Item`s.
      fraction: share of the labels, in [0, 1].
      seed: int.

    Returns:
      List of `Item`s in the same order, with new identities.

    Raises:
      ValueError: if the fraction is outside [0, 1].

    Reference: SphereFace2 (arXiv:2108.01513), section 4.3, shuffles 0.2, 0.4, 0.6 and 0.8 "of the labels for each
    class"; we read this as a permutation, not as new random labels.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"`fraction` must be in [0, 1], got {fraction}.")
    items = list(items)
    classes = collections.defaultdict(list)
    for position in sorted(range(len(items)), key=lambda position: _draw("choose", seed, items[position].key)):
        classes[items[position].identity].append(position)
    # Halves round up; the built-in `round` would go to the even number.
    chosen = [position for members in classes.values() for position in members[: int(fraction * len(members) + 0.5)]]
    takers = sorted(chosen, key=lambda position: _draw("take", seed, items[position].key))
    givers = sorted(chosen, key=lambda position: _draw("give", seed, items[position].key))
    noisy = list(items)
    for taker, giver in zip(takers, givers, strict=True):
        noisy[taker] = dataclasses.replace(items[taker], identity=items[giver].identity)
    return noisy


def _draw(purpose, seed, key):
    """Returns a random number that depends on the arguments alone; a generator's may change with its release."""
    return hashlib.sha256(f"{purpose}/{seed}/{key}".encode()).digest()
