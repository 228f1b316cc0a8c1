"""SFNet20 and SFNet64: the residual networks of SphereFace and SphereFace2."""

import keras
from keras import layers

from tfface.backbones.layers import batch_norm, check_embedding_dim, conv, full_precision, image_input, prelu


def SFNet20(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`SFNet` of 1, 2, 4 and 1 units: 20 layers."""
    return SFNet((1, 2, 4, 1), embedding_dim, image_size, **options)


def SFNet64(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`SFNet` of 3, 8, 16 and 3 units: 64 layers."""
    return SFNet((3, 8, 16, 3), embedding_dim, image_size, **options)


def SFNet(
    units: tuple[int, int, int, int],
    embedding_dim: int = 512,
    image_size: int | tuple[int, int] = 112,
    with_batch_norm: bool = False,
    activation: str = "prelu",
) -> keras.Model:
    """Builds a SphereFace network: four stages, each of a strided convolution and residual units.

    Args:
      units: four ints, residual units of the stages of 64, 128, 256 and 512 channels.
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56; the SphereFace paper uses (112, 96).
      with_batch_norm: bool, batch normalisation after every convolution (the original has none).
      activation: "prelu" as in the SphereFace paper, or "relu" as in SphereFace2's published code.

    Returns:
      keras.Model that maps float images [N, height, width, 3] in [-1, 1] to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size`, `embedding_dim` or `activation` out of range.

    Reference:
      Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017, Table 2.
    """
    check_embedding_dim(embedding_dim)
    if activation not in ("prelu", "relu"):
        raise ValueError(f"activation must be 'prelu' or 'relu', got {activation!r}.")

    def convolve(x, filters, name, i=1, strides=1, initializer="glorot_normal"):
        x = conv(x, filters, 3, strides, not with_batch_norm, initializer, f"{name}.conv{i}")
        if with_batch_norm:
            x = batch_norm(x, f"{name}.bn{i}")
        return prelu(x, f"{name}.prelu{i}") if activation == "prelu" else layers.ReLU()(x)

    # Without batch normalisation small weights in the residual branch keep the start near the identity.
    residual = "glorot_normal" if with_batch_norm else keras.initializers.RandomNormal(stddev=0.01)

    inputs = x = image_input(image_size)
    for stage, (filters, count) in enumerate(zip((64, 128, 256, 512), units, strict=True), 1):
        x = convolve(x, filters, f"layer{stage}.0", strides=2)
        for unit in range(1, count + 1):
            name = f"layer{stage}.{unit}"
            branch = convolve(x, filters, name, 1, initializer=residual)
            x = layers.Add()([x, convolve(branch, filters, name, 2, initializer=residual)])
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(embedding_dim, dtype=full_precision(), name="fc")(x)
    outputs = batch_norm(x, "features", dtype=full_precision()) if with_batch_norm else x
    return keras.Model(inputs, outputs, name=f"sfnet{2 * sum(units) + 4}")
