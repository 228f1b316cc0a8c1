"""Batches of P identities with K images each: which images they hold."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from tfface.data.order.permutations import IDENTITIES, IMAGES, permutation


@dataclasses.dataclass(frozen=True)
class PK:
    """Batches of P identities with K images each, for losses that compare the images of a batch.

    In every round over the dataset each identity has one turn, in a new order; the identities that do not fill a batch
    at its end are left out. So identities come equally often, whatever their numbers of images. An identity with n
    images shows different ones in n // K consecutive rounds, and then draws them again. With fewer images than K it
    shows all of them, and they repeat.

    Args:
      identities: int, P.
      images: int, K, images per identity; triplets need at least 2.

    Raises:
      ValueError: an argument is not a positive integer.
    """

    identities: int = 32
    images: int = 4

    def __post_init__(self):
        for name, value in (("identities", self.identities), ("images", self.images)):
            if int(value) != value or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")

    @property
    def size(self) -> int:
        """Number of images per batch, P * K."""
        return self.identities * self.images


def global_batch_size(batch_size: int | None, batches: PK | None) -> int:
    """Returns the number of images per batch that two arguments of an input pipeline state.

    Raises:
      ValueError: neither is given, they contradict each other, or one is out of range.
    """
    if not isinstance(batches, PK | None):
        raise ValueError(f"`batches` must be a PK, such as PK(identities=32, images=4), or None; got {batches!r}.")
    if batches is not None and batch_size not in (None, batches.size):
        raise ValueError(f"`batch_size` must be {batches.size} with {batches}, or left out; got {batch_size}.")
    size = batch_size if batches is None else batches.size
    if size is None:
        raise ValueError("the size of the batches is missing: pass `batch_size`, or `batches`, such as PK(32, 4).")
    if size < 1:
        raise ValueError(f"`batch_size` must be positive, got {size}.")
    return size


def image_order(starts: np.ndarray, batches: PK, seed: int) -> Callable[[int], np.ndarray]:
    """Returns the function from a step to the images of its batch.

    Args:
      starts: int [identities + 1]; identity i has the images starts[i] to starts[i + 1] - 1.
      batches: `PK`.
      seed: int >= 0.

    Returns:
      Function of a step, int >= 0, that returns the images int64 [P * K], K of each identity one after the other.

    Raises:
      ValueError: there are fewer identities than P.
    """
    identities = len(starts) - 1
    if identities < batches.identities:
        raise ValueError(f"{batches} needs {batches.identities} identities, the dataset has {identities}.")
    batches_per_round = identities // batches.identities

    @functools.lru_cache(maxsize=4)  # Steps at the border of two rounds may be computed at the same time.
    def identities_of_round(number):
        return permutation(identities, seed, IDENTITIES, number, 0)

    def images_of(identity, turn):
        start, count = starts[identity], starts[identity + 1] - starts[identity]
        cycle, part = divmod(turn, max(1, count // batches.images))
        order = permutation(count, seed, IMAGES, identity, cycle)
        return start + np.resize(order[part * batches.images :], batches.images)

    def images_of_step(step):
        turn, place = divmod(step, batches_per_round)
        chosen = identities_of_round(turn)[place * batches.identities : (place + 1) * batches.identities]
        return np.concatenate([images_of(identity, turn) for identity in chosen])

    return images_of_step
