"""Wrong labels on purpose, to measure how a loss bears them."""

import collections
import dataclasses
import hashlib


def shuffle_labels(items, fraction, seed=0):
    """Shuffles a share of the labels of every class among each other; classes keep their numbers of images.

    Of every identity with n images round(fraction * n) are chosen, and the labels of all chosen images are dealt out
    anew. So a chosen image may get its own label back, which among K classes of like size happens to one in K. Who is
    chosen and gets which label depends on seed and keys alone.

    Args:
      items: iterable of `tfface.data.sources.Item`s.
      fraction: in [0, 1], of the labels.
      seed: int.

    Returns:
      List of `Item`s, in the same order, with other identities.

    Raises:
      ValueError: if the fraction is outside [0, 1].

    Reference: SphereFace2 (arXiv:2108.01513), section 4.3, shuffles 0.2, 0.4, 0.6 and 0.8 "of the labels for each
    class"; that they are permuted rather than drawn anew is our reading of it.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"`fraction` must be in [0, 1], got {fraction}.")
    items = list(items)
    classes = collections.defaultdict(list)
    for position in sorted(range(len(items)), key=lambda position: _draw("choose", seed, items[position].key)):
        classes[items[position].identity].append(position)
    # Half an image counts as one, where the built-in `round` would go to the even number.
    chosen = [position for members in classes.values() for position in members[: int(fraction * len(members) + 0.5)]]
    takers = sorted(chosen, key=lambda position: _draw("take", seed, items[position].key))
    givers = sorted(chosen, key=lambda position: _draw("give", seed, items[position].key))
    noisy = list(items)
    for taker, giver in zip(takers, givers, strict=True):
        noisy[taker] = dataclasses.replace(items[taker], identity=items[giver].identity)
    return noisy


def _draw(purpose, seed, key):
    """A random number that depends on nothing else, unlike those of generators on their release."""
    return hashlib.sha256(f"{purpose}/{seed}/{key}".encode()).digest()
