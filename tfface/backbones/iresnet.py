"""IResNet: ArcFace's residual networks of improved units, with or without squeeze-and-excitation."""

import keras
from keras import layers

from tfface.backbones.layers import batch_norm, check_embedding_dim, conv, full_precision, image_input, prelu


def IResNet18(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`IResNet` of 2, 2, 2 and 2 units."""
    return IResNet((2, 2, 2, 2), embedding_dim, image_size, **options)


def IResNet34(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`IResNet` of 3, 4, 6 and 3 units."""
    return IResNet((3, 4, 6, 3), embedding_dim, image_size, **options)


def IResNet50(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`IResNet` of 3, 4, 14 and 3 units."""
    return IResNet((3, 4, 14, 3), embedding_dim, image_size, **options)


def IResNet100(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`IResNet` of 3, 13, 30 and 3 units."""
    return IResNet((3, 13, 30, 3), embedding_dim, image_size, **options)


def IResNet200(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`IResNet` of 6, 26, 60 and 6 units."""
    return IResNet((6, 26, 60, 6), embedding_dim, image_size, **options)


def IResNet(
    units: tuple[int, int, int, int],
    embedding_dim: int = 512,
    image_size: int | tuple[int, int] = 112,
    dropout: float = 0.4,
    squeeze_excite: bool = False,
) -> keras.Model:
    """Builds a residual network of improved units that ends in BN-Dropout-FC-BN.

    Layers bear the names of arcface_torch's modules, which import and export of weights rely on.

    Args:
      units: four ints, residual units of the stages of 64, 128, 256 and 512 channels.
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56.
      dropout: float in [0, 1), rate before the fully connected layer; the paper's code has 0.4, arcface_torch 0.
      squeeze_excite: bool, channel attention at the end of every unit, reduction 16.

    Returns:
      keras.Model that maps float images [N, height, width, 3] in [-1, 1] to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size`, `embedding_dim` or `dropout` out of range.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Section 3.1; Hu et al.,
      "Squeeze-and-Excitation Networks", 2018.
    """
    check_embedding_dim(embedding_dim)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}.")
    inputs = image_input(image_size)
    x = prelu(batch_norm(conv(inputs, 64, name="conv1"), "bn1"), "prelu")
    for stage, (filters, count) in enumerate(zip((64, 128, 256, 512), units, strict=True), 1):
        for unit in range(count):
            x = _unit(x, filters, 2 if unit == 0 else 1, squeeze_excite, f"layer{stage}.{unit}")
    x = layers.Flatten(name="flatten")(batch_norm(x, "bn2"))
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(embedding_dim, dtype=full_precision(), name="fc")(x)
    # Without a scale, which does not change a loss on angles.
    outputs = batch_norm(x, "features", scale=False, dtype=full_precision())
    return keras.Model(inputs, outputs, name="iresnet")


def _unit(x, filters, strides, squeeze_excite, name):
    branch = conv(batch_norm(x, f"{name}.bn1"), filters, name=f"{name}.conv1")
    branch = prelu(batch_norm(branch, f"{name}.bn2"), f"{name}.prelu")
    branch = batch_norm(conv(branch, filters, strides=strides, name=f"{name}.conv2"), f"{name}.bn3")
    if squeeze_excite:
        branch = _squeeze_excite(branch, f"{name}.se")
    if strides > 1:
        x = batch_norm(conv(x, filters, 1, strides, name=f"{name}.downsample.0"), f"{name}.downsample.1")
    return layers.Add()([branch, x])


def _squeeze_excite(x, name):
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = prelu(layers.Dense(channels // 16, name=f"{name}.fc1")(gate), f"{name}.prelu")
    gate = layers.Dense(channels, activation="sigmoid", name=f"{name}.fc2")(gate)
    return layers.Multiply()([x, gate])
