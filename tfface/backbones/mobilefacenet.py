"""MobileFaceNet: inverted residual bottlenecks with a global depthwise convolution at the end."""

import keras
from keras import layers

from tfface.backbones.layers import (
    batch_norm,
    check_embedding_dim,
    conv,
    depthwise_conv,
    full_precision,
    image_input,
    prelu,
)

# Channels inside a bottleneck, channels it ends in, stride: Table 1 of the paper. A tuple in a tuple is a group of
# residual bottlenecks, as arcface_torch groups and names them.
_BOTTLENECKS = (
    (128, 64, 2),
    ((128, 64, 1),) * 4,
    (256, 128, 2),
    ((256, 128, 1),) * 6,
    (512, 128, 2),
    ((256, 128, 1),) * 2,
)


def MobileFaceNet(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, width: float = 1.0) -> keras.Model:
    """Builds MobileFaceNet, a face network of about one million weights.

    Layers bear the names of arcface_torch's modules, which import and export of weights rely on.

    Args:
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56.
      width: float, multiplies every channel count (rounded to a multiple of 8).

    Returns:
      keras.Model that maps float images [N, height, width, 3] in [-1, 1] to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size`, `embedding_dim` or `width` out of range.

    Reference:
      Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", 2018.
    """
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}.")

    def channels(count):
        return max(8, int(count * width / 8 + 0.5) * 8)

    return _mobilefacenet("mobilefacenet", embedding_dim, image_size, channels, channels)


def InsightFaceMobileFaceNet(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112) -> keras.Model:
    """Builds arcface_torch's variant of MobileFaceNet, `mbf`: twice the channels between its bottlenecks.

    Args:
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56.

    Returns:
      keras.Model that maps float images [N, height, width, 3] in [-1, 1] to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size` or `embedding_dim` out of range.
    """
    return _mobilefacenet(
        "insightface_mobilefacenet", embedding_dim, image_size, lambda count: 2 * count, lambda count: count
    )


def _mobilefacenet(name, embedding_dim, image_size, between, inside):
    """`between` and `inside` scale the channel counts between bottlenecks and inside them."""
    check_embedding_dim(embedding_dim)
    inputs = image_input(image_size)
    x = conv(inputs, between(64), strides=2, name="layers.0.layers.0")
    x = _normalise(x, "layers.0")
    # The depthwise convolution has as many groups as the network has channels inside.
    x = depthwise_conv(x, group_size=between(64) // inside(64), name="layers.1.layers.0")
    x = _normalise(x, "layers.1")
    for i, part in enumerate(_BOTTLENECKS, 2):
        bottlenecks = part if isinstance(part[0], tuple) else (part,)
        for j, (hidden, filters, strides) in enumerate(bottlenecks):
            place = f"layers.{i}" if bottlenecks is not part else f"layers.{i}.layers.{j}"
            x = _bottleneck(x, inside(hidden), between(filters), strides, place)
    x = _normalise(conv(x, inside(512), 1, name="conv_sep.layers.0"), "conv_sep")
    x = depthwise_conv(x, tuple(x.shape[1:3]), padding="valid", name="features.layers.0.layers.0")
    x = layers.Flatten(name="flatten")(_normalise(x, "features.layers.0", activate=False))
    x = layers.Dense(embedding_dim, use_bias=False, dtype=full_precision(), name="features.layers.2")(x)
    outputs = batch_norm(x, "features.layers.3", dtype=full_precision())
    return keras.Model(inputs, outputs, name=name)


def _bottleneck(x, hidden, filters, strides, name):
    branch = conv(x, hidden, 1, name=f"{name}.layers.0.layers.0")
    branch = _normalise(branch, f"{name}.layers.0")
    branch = depthwise_conv(branch, strides=strides, name=f"{name}.layers.1.layers.0")
    branch = _normalise(branch, f"{name}.layers.1")
    branch = conv(branch, filters, 1, name=f"{name}.layers.2.layers.0")
    branch = _normalise(branch, f"{name}.layers.2", activate=False)
    return layers.Add()([branch, x]) if strides == 1 else branch


def _normalise(x, name, activate=True):
    x = batch_norm(x, f"{name}.layers.1")
    return prelu(x, f"{name}.layers.2") if activate else x
