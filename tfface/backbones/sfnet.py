"""SFNet20: the 20-layer residual network of SphereFace and SphereFace2."""

import keras
from keras import layers

from tfface.backbones.layers import batch_norm, check_embedding_dim, conv, image_input, prelu

# Channels and residual units of the four stages; each stage opens with a strided convolution.
_STAGES_20 = ((64, 1), (128, 2), (256, 4), (512, 1))


def SFNet20(embedding_dim=512, image_size=112, with_batch_norm=False):
    """Builds the 20-layer SphereFace network.

    Args:
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56; the papers use (112, 96).
      with_batch_norm: bool, batch normalisation after every convolution (the original has none).

    Returns:
      keras.Model that maps float images [N, height, width, 3] in [-1, 1] to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size` or `embedding_dim` out of range.

    Reference:
      Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017, Table 2.
    """
    check_embedding_dim(embedding_dim)

    def unit(x, filters, strides=1, initializer="glorot_normal"):
        x = conv(x, filters, 3, strides, use_bias=not with_batch_norm, initializer=initializer)
        return prelu(batch_norm(x) if with_batch_norm else x)

    # Without batch normalisation small weights in the residual branch keep the start near the identity.
    residual = "glorot_normal" if with_batch_norm else keras.initializers.RandomNormal(stddev=0.01)

    inputs = x = image_input(image_size)
    for filters, units in _STAGES_20:
        x = unit(x, filters, strides=2)
        for _ in range(units):
            branch = unit(unit(x, filters, initializer=residual), filters, initializer=residual)
            x = layers.Add()([x, branch])
    x = layers.Flatten()(x)
    x = layers.Dense(embedding_dim, name=None if with_batch_norm else "embedding")(x)
    outputs = batch_norm(x, name="embedding") if with_batch_norm else x
    return keras.Model(inputs, outputs, name="sfnet20")
