"""Building blocks that every backbone shares."""

import keras
from keras import layers

from tfface.backbones.batch_norm import FusedBatchNormalization
from tfface.backbones.prelu import FusedPReLU

MIN_IMAGE_SIZE = 56


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int = 3,
    strides: int = 1,
    use_bias: bool = False,
    initializer: str = "he_normal",
    name: str | None = None,
) -> keras.KerasTensor:
    """Convolution padded by kernel_size // 2 on every side, as in the papers' Caffe, MXNet and PyTorch networks.

    Keras' "same" pads a strided convolution on the right and bottom only, which would shift the features of imported
    weights by half a pixel.
    """
    x, padding = _pad(x, kernel_size, strides)
    return layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=use_bias, kernel_initializer=initializer, name=name
    )(x)


def depthwise_conv(
    x: keras.KerasTensor,
    kernel_size: int = 3,
    strides: int = 1,
    padding: str = "same",
    group_size: int = 1,
    name: str | None = None,
) -> keras.KerasTensor:
    """One filter per channel, padded as in `conv`; `padding="valid"` leaves the border out.

    With `group_size` g, each group of g channels is convolved to g channels: a grouped convolution, written with a
    depthwise one because TensorFlow has no gradient of a grouped one on a CPU.
    """
    if padding == "same":
        x, padding = _pad(x, kernel_size, strides)
    x = layers.DepthwiseConv2D(
        kernel_size, strides, padding, group_size, use_bias=False, depthwise_initializer="he_normal", name=name
    )(x)
    if group_size > 1:
        height, width, products = x.shape[1:]
        x = layers.Reshape((height, width, products // group_size**2, group_size, group_size))(x)
        x = layers.Reshape((height, width, products // group_size))(keras.ops.sum(x, axis=-2))
    return x


def _pad(x, kernel_size, strides):
    if kernel_size > 1 and strides > 1:
        return layers.ZeroPadding2D(kernel_size // 2)(x), "valid"
    return x, "same"


def batch_norm(x: keras.KerasTensor, name: str | None = None, epsilon: float = 1e-5, **options) -> keras.KerasTensor:
    """Batch normalisation with the constants of the reference networks."""
    return FusedBatchNormalization(momentum=0.9, epsilon=epsilon, name=name, **options)(x)


def prelu(x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
    """PReLU with one slope per channel, 0.25 at the start."""
    shared_axes = list(range(1, len(x.shape) - 1))
    return FusedPReLU(keras.initializers.Constant(0.25), shared_axes=shared_axes, name=name)(x)


def full_precision() -> str:
    """Returns the dtype of weights, in which embeddings are computed under a mixed policy too."""
    return keras.config.dtype_policy().variable_dtype


def synchronize_batch_norm(model: keras.Model) -> None:
    """Makes every batch normalisation of the model take its statistics over all replicas.

    Args:
      model: keras.Model, not yet traced by a training step.
    """
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True


def image_input(image_size: int | tuple[int, int]) -> keras.KerasTensor:
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


def check_embedding_dim(embedding_dim: int) -> None:
    """Raises ValueError unless `embedding_dim` is a positive integer."""
    if int(embedding_dim) != embedding_dim or embedding_dim < 1:
        raise ValueError(f"embedding_dim must be a positive integer, got {embedding_dim!r}.")
