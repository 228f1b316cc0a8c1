"""Changes of colour."""

import dataclasses

import tensorflow as tf

from tfface.checks import check_range
from tfface.data.images.augment.base import Augmentation

_LUMINANCE = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class Color(Augmentation):
    """Changes brightness, contrast and saturation, each by a random factor.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      strength: float in [0, 1]; the factors are drawn from [1 - strength, 1 + strength].

    Raises:
      ValueError: an argument is out of range.
    """

    strength: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_range("strength", self.strength, 0, 1)

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        factors = tf.random.stateless_uniform([3], seed, 1.0 - self.strength, 1.0 + self.strength)
        return adjust_color(image, *tf.unstack(factors))


def adjust_color(image: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor, saturation: tf.Tensor) -> tf.Tensor:
    """Scales the distance to black, then to the mean grey, then to each pixel's grey; clips to [-1, 1] each time.

    Args:
      brightness, contrast, saturation: factors, float32 []; 1 changes nothing.
    """

    def grey(image):
        return tf.reduce_sum(image * _LUMINANCE, axis=-1, keepdims=True)

    def scale(image, origin, factor):
        return tf.clip_by_value(origin + (image - origin) * factor, -1.0, 1.0)

    image = scale(image, -1.0, brightness)
    image = scale(image, tf.reduce_mean(grey(image)), contrast)
    return scale(image, grey(image), saturation)
