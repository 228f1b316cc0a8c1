"""Losses of quality: resolution and compression."""

import dataclasses

import tensorflow as tf

from tfface.data.images.augment.base import Augmentation, check_limits
from tfface.data.images.decoding import decode_pixels


@dataclasses.dataclass(frozen=True)
class LowResolution(Augmentation):
    """Scales down by a random ratio, and up again.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      smallest: float in (0, 1], smallest ratio of the sides.

    Raises:
      ValueError: an argument is out of range.
    """

    smallest: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        check_limits(self.smallest, 1.0)

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return rescale(image, tf.random.stateless_uniform([], seed, self.smallest, 1.0))


def rescale(image: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    """Scales down with an antialiased triangle filter, and up bilinearly.

    Args:
      ratio: ratio of the small to the full size, float32 [] in (0, 1].
    """
    full = tf.shape(image)[:2]
    small = tf.maximum(1, tf.cast(tf.round(ratio * tf.cast(full, tf.float32)), tf.int32))
    return tf.ensure_shape(tf.image.resize(tf.image.resize(image, small, antialias=True), full), image.shape)


@dataclasses.dataclass(frozen=True)
class Jpeg(Augmentation):
    """Adds the artefacts of JPEG compression with a random quality.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      lowest_quality: int in [1, 100].
      highest_quality: int in [1, 100].

    Raises:
      ValueError: an argument is out of range.
    """

    lowest_quality: int = 20
    highest_quality: int = 95

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.lowest_quality <= self.highest_quality <= 100:
            raise ValueError(
                "expected 1 <= lowest_quality <= highest_quality <= 100, got "
                f"lowest_quality={self.lowest_quality!r}, highest_quality={self.highest_quality!r}."
            )

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        quality = tf.random.stateless_uniform([], seed, self.lowest_quality, self.highest_quality + 1, tf.int32)
        pixels = tf.cast(tf.round(image * 127.5 + 127.5), tf.uint8)
        pixels = decode_pixels(tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=quality))
        return (tf.cast(tf.ensure_shape(pixels, image.shape), tf.float32) - 127.5) * (1 / 127.5)
