"""Augmentation of training images in the graph: pure functions of image and seed.

In all of them `image` is float32 [height, width, 3] in [-1, 1], `seed` is an integer [2], and the result is an image of
the same shape and range. Their names are `color`, `crop`, `erase`, `jpeg`, `low_resolution` and `mirror` (a horizontal
flip). AdaFace trains with `color`, `crop` and `low_resolution`, each with probability 0.2.

References: Kim et al., "AdaFace", CVPR 2022, section 4.1; Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
"""

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

import tensorflow as tf

from tfface.data.images.decoding import decode_pixels

DEFAULT_PROBABILITY = 0.2

Augmentation: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_LUMINANCE = (0.299, 0.587, 0.114)


def mirror(image: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    """Flips left to right; the seed is not used."""
    return tf.reverse(image, [1])


def color(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes brightness, contrast and saturation, each by a random factor in [0.5, 1.5]."""
    brightness, contrast, saturation = tf.unstack(tf.random.stateless_uniform([3], seed, 0.5, 1.5))
    return adjust_color(image, brightness, contrast, saturation)


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


def crop(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Blackens everything outside a random rectangle of 20% to 100% of the area; the rectangle does not move."""
    return tf.where(_rectangle(image, seed, (0.2, 1.0), 4 / 3), image, -1.0)


def erase(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Fills a random rectangle of 2% to 33% of the area with mid-grey."""
    return tf.where(_rectangle(image, seed, (0.02, 0.33), 10 / 3), 0.0, image)


def low_resolution(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Scales down to 20% to 100% of the side, and up again."""
    return rescale(image, tf.random.stateless_uniform([], seed, 0.2, 1.0))


def rescale(image: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    """Scales down with an antialiased triangle filter, and up bilinearly.

    Args:
      ratio: ratio of the small to the full size, float32 [] in (0, 1].
    """
    full = tf.shape(image)[:2]
    small = tf.maximum(1, tf.cast(tf.round(ratio * tf.cast(full, tf.float32)), tf.int32))
    return tf.ensure_shape(tf.image.resize(tf.image.resize(image, small, antialias=True), full), image.shape)


def jpeg(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Adds the artefacts of JPEG compression with a quality of 20 to 95."""
    quality = tf.random.stateless_uniform([], seed, 20, 96, tf.int32)
    pixels = tf.cast(tf.round(image * 127.5 + 127.5), tf.uint8)
    data = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=quality)
    pixels = decode_pixels(data)
    return (tf.cast(tf.ensure_shape(pixels, image.shape), tf.float32) - 127.5) * (1 / 127.5)


AUGMENTATIONS: dict[str, Augmentation] = {
    "color": color,
    "crop": crop,
    "erase": erase,
    "jpeg": jpeg,
    "low_resolution": low_resolution,
    "mirror": mirror,
}


def parse_augmentations(names: Iterable[str]) -> list[tuple[Augmentation, float]]:
    """Parses a list of augmentations.

    Args:
      names: sequence of strings `NAME` or `NAME:PROBABILITY`; the default probability is 0.2.

    Returns:
      List of (function of image and seed, probability).

    Raises:
      ValueError: if a name is unknown, or a probability is not in [0, 1].
    """
    parsed = []
    for text in names:
        name, colon, number = text.partition(":")
        if name not in AUGMENTATIONS:
            raise ValueError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {text!r}.")
        try:
            probability = float(number) if colon else DEFAULT_PROBABILITY
        except ValueError:
            probability = math.nan
        if not 0 <= probability <= 1:
            raise ValueError(f"the probability of an augmentation must be in [0, 1], got {text!r}.")
        parsed.append((AUGMENTATIONS[name], probability))
    return parsed


def augment(image: tf.Tensor, seed: tf.Tensor, augmentations: Iterable[tuple[Augmentation, float]]) -> tf.Tensor:
    """Applies several augmentations in order, each with its probability.

    Args:
      augmentations: as `parse_augmentations` returns them.

    Returns:
      The image.
    """
    for number, (function, probability) in enumerate(augmentations):
        image = sometimes(function, probability, image, tf.random.fold_in(seed, number))
    return image


def sometimes(function: Augmentation, probability: float, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies one augmentation with a probability."""
    chance = tf.random.stateless_uniform([], seed)
    return tf.cond(chance < probability, lambda: function(image, tf.random.fold_in(seed, 0)), lambda: image)


def _rectangle(image, seed, areas, aspect):
    """Draws a rectangle with a share of the area and a ratio of sides in [1 / `aspect`, `aspect`].

    Returns:
      Its mask, bool [height, width, 1].
    """
    area, elongation, top, left = tf.unstack(
        tf.random.stateless_uniform([4], seed, [areas[0], -1.0, 0.0, 0.0], [areas[1], 1.0, 1.0, 1.0])
    )
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    elongation = tf.sqrt(aspect) ** elongation
    tall = tf.minimum(tf.round(tf.sqrt(area) * elongation * height), height)
    wide = tf.minimum(tf.round(tf.sqrt(area) / elongation * width), width)
    row = tf.range(height)[:, None, None] - tf.floor(top * (height - tall + 1))
    column = tf.range(width)[None, :, None] - tf.floor(left * (width - wide + 1))
    return (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
