"""Flips, turns and random rectangles."""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from tfface.checks import check_range
from tfface.data.images.augment.base import Augmentation, check_limits


@dataclasses.dataclass(frozen=True)
class Mirror(Augmentation):
    """Flips left to right. `train_dataset(mirror=True)` does so beside all augmentations, with probability 1/2.

    Args:
      probability: float in [0, 1], share of the images that are changed.

    Raises:
      ValueError: the probability is out of range.
    """

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return mirror(image)


def mirror(image: tf.Tensor) -> tf.Tensor:
    """Flips an image [height, width, 3] left to right."""
    return tf.reverse(image, [1])


@dataclasses.dataclass(frozen=True)
class Affine(Augmentation):
    """Turns, scales and shifts by small random amounts, as an alignment by other landmarks would.

    Pixels are interpolated bilinearly; those from outside the image repeat its border.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      rotation: float in [0, 180], degrees; the angle is drawn from [-rotation, rotation].
      scale: float in [0, 0.9]; the factor is drawn from [1 - scale, 1 + scale].
      shift: float in [0, 1], share of height and width; both shifts are drawn from [-shift, shift].

    Raises:
      ValueError: an argument is out of range.
    """

    rotation: float = 10.0
    scale: float = 0.1
    shift: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        check_range("rotation", self.rotation, 0, 180)
        check_range("scale", self.scale, 0, 0.9)
        check_range("shift", self.shift, 0, 1)

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        limits = tf.constant([math.radians(self.rotation), self.scale, self.shift, self.shift])
        angle, factor, down, right = tf.unstack(tf.random.stateless_uniform([4], seed, -1.0, 1.0) * limits)
        return move(image, angle, 1 + factor, down, right)


def move(image: tf.Tensor, angle: tf.Tensor, scale: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Turns an image [height, width, 3] about its centre, scales it and shifts it; its border is repeated outside.

    Args:
      angle: float32 [], radians, clockwise.
      scale: float32 [], above 1 the face becomes larger.
      down, right: float32 [], shares of height and width.
    """
    size = tf.shape(image)[:2]
    height, width = tf.unstack(tf.cast(size, tf.float32))
    row, column = (height - 1) / 2, (width - 1) / 2
    # The operation takes the way back, from a pixel of the result to its place in the image.
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    y, x = row + down * height, column + right * width
    to_column = [cosine, sine, column - cosine * x - sine * y]
    to_row = [-sine, cosine, row + sine * x - cosine * y]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([*to_column, *to_row, 0.0, 0.0])[None],
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(moved[0], image.shape)


@dataclasses.dataclass(frozen=True)
class _OfRectangle(Augmentation):
    smallest: float = 0.2
    largest: float = 1.0
    aspect: float = 4 / 3

    def __post_init__(self):
        super().__post_init__()
        check_limits(self.smallest, self.largest)
        if not 1 <= self.aspect < float("inf"):
            raise ValueError(f"aspect must be finite and at least 1, got {self.aspect!r}.")


@dataclasses.dataclass(frozen=True)
class Crop(_OfRectangle):
    """Blackens everything outside a random rectangle; the rectangle does not move.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      smallest: float in (0, 1], smallest area of the rectangle as a share of the image.
      largest: float in (0, 1], largest area.
      aspect: float >= 1, largest ratio of the sides of the rectangle, either way, relative to those of the image.

    Raises:
      ValueError: an argument is out of range.
    """

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return tf.where(_mask(image, _rectangle(image, seed, self)), image, -1.0)


@dataclasses.dataclass(frozen=True)
class Erase(_OfRectangle):
    """Fills a random rectangle with mid-grey.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      smallest: float in (0, 1], smallest area of the rectangle as a share of the image.
      largest: float in (0, 1], largest area.
      aspect: float >= 1, largest ratio of the sides of the rectangle, either way, relative to those of the image.

    Raises:
      ValueError: an argument is out of range.
    """

    smallest: float = 0.02
    largest: float = 0.33
    aspect: float = 10 / 3

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return tf.where(_mask(image, _rectangle(image, seed, self)), 0.0, image)


@dataclasses.dataclass(frozen=True)
class RandomCrop(_OfRectangle):
    """Cuts out a random rectangle and scales it bilinearly to the size of the image.

    `RandomCrop(1.0, smallest=0.766, largest=0.766, aspect=1)` cuts squares of 224 pixels out of 256. Aligned faces
    lose their alignment: this is for image retrieval.

    Args:
      probability: float in [0, 1], share of the images that are changed.
      smallest: float in (0, 1], smallest area of the rectangle as a share of the image.
      largest: float in (0, 1], largest area.
      aspect: float >= 1, largest ratio of the sides of the rectangle, either way, relative to those of the image.

    Raises:
      ValueError: an argument is out of range.
    """

    def change(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        top, left, tall, wide = (tf.cast(number, tf.int32) for number in _rectangle(image, seed, self))
        part = tf.slice(image, [top, left, 0], [tf.maximum(tall, 1), tf.maximum(wide, 1), -1])
        return tf.ensure_shape(tf.image.resize(part, tf.shape(image)[:2]), image.shape)


class _Rectangle(NamedTuple):
    """Pixels, as whole float32 numbers."""

    top: tf.Tensor
    left: tf.Tensor
    tall: tf.Tensor
    wide: tf.Tensor


def _rectangle(image, seed, limits):
    """Draws a rectangle within the limits of an augmentation."""
    area, elongation, top, left = tf.unstack(
        tf.random.stateless_uniform([4], seed, [limits.smallest, -1.0, 0.0, 0.0], [limits.largest, 1.0, 1.0, 1.0])
    )
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    elongation = tf.sqrt(float(limits.aspect)) ** elongation
    tall = tf.minimum(tf.round(tf.sqrt(area) * elongation * height), height)
    wide = tf.minimum(tf.round(tf.sqrt(area) / elongation * width), width)
    top, left = tf.floor(top * (height - tall + 1)), tf.floor(left * (width - wide + 1))
    return _Rectangle(top, left, tall, wide)


def _mask(image, rectangle):
    """Returns bool [height, width, 1], True in the rectangle."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    row = tf.range(height)[:, None, None] - rectangle.top
    column = tf.range(width)[None, :, None] - rectangle.left
    return (row >= 0) & (row < rectangle.tall) & (column >= 0) & (column < rectangle.wide)
