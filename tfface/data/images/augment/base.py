"""Base of the augmentations: each is applied with its probability."""

import dataclasses
from collections.abc import Iterable

import tensorflow as tf

from tfface.checks import check_range


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random change of images; `augmentation(image, seed)` makes it with its probability.

    Args:
      probability: float in [0, 1], share of the images that are changed.

    Raises:
      ValueError: an argument is out of range.
    """

    probability: float = 0.2

    def __post_init__(self):
        check_range("probability", self.probability, 0, 1)

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Changes the image with the probability.

        Args:
          image: float32 [height, width, 3] in [-1, 1].
          seed: integer [2].

        Returns:
          An image of the same shape and range.
        """
        chance = tf.random.stateless_uniform([], seed)
        changed = chance < self.probability
        return tf.cond(changed, lambda: self.change(image, tf.random.fold_in(seed, 0)), lambda: image)

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the changed image; takes what `__call__` takes."""
        raise NotImplementedError


def augment(image: tf.Tensor, seed: tf.Tensor, augmentations: Iterable[Augmentation]) -> tf.Tensor:
    """Applies several augmentations in order, each with its own seed and probability; as `Augmentation.__call__`."""
    for number, augmentation in enumerate(augmentations):
        image = augmentation(image, tf.random.fold_in(seed, number))
    return image


def check_limits(smallest: float, largest: float) -> None:
    """Raises ValueError unless 0 < smallest <= largest <= 1."""
    if not 0 < smallest <= largest <= 1:
        raise ValueError(f"expected 0 < smallest <= largest <= 1, got smallest={smallest!r}, largest={largest!r}.")
