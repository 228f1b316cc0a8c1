"""MobileFaceNet: inverted residual bottlenecks with a global depthwise convolution at the end."""

import keras
from keras import layers

from tfface.backbones.layers import batch_norm, check_embedding_dim, conv, depthwise_conv, image_input, prelu

# Expansion, channels, repeats, stride of the first: Table 1 of the paper.
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def MobileFaceNet(embedding_dim=512, image_size=112, width=1.0):
    """Builds MobileFaceNet, a face network of about one million weights.

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
    check_embedding_dim(embedding_dim)
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}.")

    def channels(count):
        return max(8, int(count * width / 8 + 0.5) * 8)

    inputs = image_input(image_size)
    x = prelu(batch_norm(conv(inputs, channels(64), strides=2)))
    x = prelu(batch_norm(depthwise_conv(x)))
    for expansion, filters, repeats, strides in _STAGES:
        for block in range(repeats):
            x = _bottleneck(x, expansion, channels(filters), strides if block == 0 else 1)
    x = prelu(batch_norm(conv(x, channels(512), 1)))
    x = batch_norm(depthwise_conv(x, tuple(x.shape[1:3]), padding="valid"))
    x = layers.Flatten()(x)
    x = layers.Dense(embedding_dim, use_bias=False)(x)
    outputs = batch_norm(x, name="embedding")
    return keras.Model(inputs, outputs, name="mobilefacenet")


def _bottleneck(x, expansion, filters, strides):
    shortcut = x
    x = prelu(batch_norm(conv(x, expansion * x.shape[-1], 1)))
    x = prelu(batch_norm(depthwise_conv(x, strides=strides)))
    x = batch_norm(conv(x, filters, 1))
    if strides == 1 and shortcut.shape[-1] == filters:
        x = layers.Add()([x, shortcut])
    return x
