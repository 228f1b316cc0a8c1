"""Building blocks that every backbone shares."""

import keras
from keras import layers

MIN_IMAGE_SIZE = 56


def conv(x, filters, kernel_size=3, strides=1, use_bias=False, initializer="he_normal", name=None):
    """Convolution padded by kernel_size // 2 on every side, as the papers' Caffe, MXNet and PyTorch networks have it.

    Keras' "same" pads a strided convolution on the right and bottom only, which would shift the features of imported
    weights by half a pixel.
    """
    if kernel_size > 1 and strides > 1:
        x = layers.ZeroPadding2D(kernel_size // 2)(x)
        padding = "valid"
    else:
        padding = "same"
    return layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=use_bias, kernel_initializer=initializer, name=name
    )(x)


def depthwise_conv(x, kernel_size=3, strides=1, padding="same", name=None):
    """One filter a channel, padded as in `conv`; `padding="valid"` leaves the border out."""
    if padding == "same" and kernel_size > 1 and strides > 1:
        x = layers.ZeroPadding2D(kernel_size // 2)(x)
        padding = "valid"
    return layers.DepthwiseConv2D(
        kernel_size, strides, padding, use_bias=False, depthwise_initializer="he_normal", name=name
    )(x)


def batch_norm(x, **kwargs):
    """Batch normalisation with the constants of the reference networks."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **kwargs)(x)


def prelu(x):
    """PReLU with one slope a channel, which starts at 0.25."""
    return layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2])(x)


def image_input(image_size):
    """Input layer for aligned faces.

    Args:
      image_size: int, or (height, width), pixels.

    Returns:
      Keras tensor [N, height, width, 3].

    Raises:
      ValueError: a side is smaller than `MIN_IMAGE_SIZE`.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < MIN_IMAGE_SIZE:
        raise ValueError(f"image_size must be at least {MIN_IMAGE_SIZE} pixels a side, got {image_size}.")
    return keras.Input((height, width, 3), name="image")


def check_embedding_dim(embedding_dim):
    """Raises ValueError unless `embedding_dim` is a positive integer."""
    if int(embedding_dim) != embedding_dim or embedding_dim < 1:
        raise ValueError(f"embedding_dim must be a positive integer, got {embedding_dim!r}.")
