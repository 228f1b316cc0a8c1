"""Small vision transformers for faces, as arcface_torch trains them."""

import keras
from keras import layers

from tfface.backbones.layers import batch_norm, check_embedding_dim, full_precision, image_input


def ViTTiny(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`ViT` of width 256 and 12 blocks, arcface_torch's `vit_t`."""
    return ViT(256, 12, embedding_dim, image_size, **options)


def ViTSmall(embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options) -> keras.Model:
    """`ViT` of width 512 and 12 blocks, arcface_torch's `vit_s`."""
    return ViT(512, 12, embedding_dim, image_size, **options)


def ViT(
    width: int,
    depth: int,
    embedding_dim: int = 512,
    image_size: int | tuple[int, int] = 112,
    num_heads: int = 8,
    patch_size: int = 9,
    drop_path: float = 0.1,
) -> keras.Model:
    """Builds a transformer over image patches whose embedding sees every token; it has no class token.

    Layers bear the names of arcface_torch's modules, which import and export of weights rely on. Its masking of tokens
    during training is left out.

    Args:
      width: int, size of a token, a multiple of `num_heads`.
      depth: int, transformer blocks.
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56. Pixels beyond the last whole patch, at the
        right and bottom, are not used.
      num_heads: int, attention heads.
      patch_size: int, side of a patch, pixels.
      drop_path: float in [0, 1), rate at which the last block is skipped in training; it grows linearly from 0.

    Returns:
      keras.Model that maps float images [N, height, width, 3] in [-1, 1] to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size`, `embedding_dim`, `width` or `drop_path` out of range.

    Reference:
      Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; An et al., "Killing Two Birds with One Stone: Efficient
      and Robust Training of Face Recognition CNNs by Partial FC", 2022.
    """
    check_embedding_dim(embedding_dim)
    if width % num_heads:
        raise ValueError(f"width must be a multiple of num_heads = {num_heads}, got {width}.")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path must be in [0, 1), got {drop_path}.")
    inputs = image_input(image_size)
    x = layers.Conv2D(width, patch_size, patch_size, kernel_initializer=_init(), name="patch_embed.proj")(inputs)
    x = layers.Reshape((-1, width))(x)
    x = PositionEmbedding(name="pos_embed")(x)
    for block in range(depth):
        x = _block(x, num_heads, drop_path * block / max(depth - 1, 1), f"blocks.{block}")
    x = layers.Flatten(name="flatten")(_layer_norm(x, "norm"))
    end = {"use_bias": False, "kernel_initializer": _init(), "dtype": full_precision()}
    x = layers.Dense(width, name="feature.0", **end)(x)
    x = batch_norm(x, "feature.1", epsilon=2e-5, dtype=full_precision())
    x = layers.Dense(embedding_dim, name="feature.2", **end)(x)
    outputs = batch_norm(x, "feature.3", epsilon=2e-5, dtype=full_precision())
    return keras.Model(inputs, outputs, name="vit")


def _block(x, num_heads, drop_path, name):
    width = x.shape[-1]
    branch = _dense(_layer_norm(x, f"{name}.norm1"), 3 * width, f"{name}.attn.qkv", use_bias=False)
    branch = _dense(SelfAttention(num_heads)(branch), width, f"{name}.attn.proj")
    x = layers.Add()([x, _drop_path(branch, drop_path)])
    branch = _dense(_layer_norm(x, f"{name}.norm2"), 4 * width, f"{name}.mlp.fc1")
    branch = _dense(layers.ReLU(max_value=6)(branch), width, f"{name}.mlp.fc2")
    return layers.Add()([x, _drop_path(branch, drop_path)])


def _init():
    return keras.initializers.TruncatedNormal(stddev=0.02)


def _dense(x, units, name, use_bias=True):
    return layers.Dense(units, use_bias=use_bias, kernel_initializer=_init(), name=name)(x)


def _layer_norm(x, name):
    return layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def _drop_path(x, rate):
    """Drops the whole branch of an example: stochastic depth."""
    return layers.Dropout(rate, noise_shape=(None, 1, 1))(x) if rate else x


@keras.saving.register_keras_serializable(package="tfface")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector to each token of [N, tokens, width]."""

    def build(self, input_shape):
        self.embedding = self.add_weight(shape=(1, *input_shape[1:]), initializer=_init(), name="embedding")

    def call(self, inputs):
        return inputs + self.embedding


@keras.saving.register_keras_serializable(package="tfface")
class SelfAttention(layers.Layer):
    """Attention of tokens to each other, given their queries, keys and values side by side.

    Args:
      num_heads: int, heads.

    Maps [N, tokens, 3 * width] to [N, tokens, width].
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def call(self, inputs):
        tokens, triple = inputs.shape[1:]
        split = keras.ops.reshape(inputs, (-1, tokens, 3, self.num_heads, triple // (3 * self.num_heads)))
        query, key, value = keras.ops.unstack(split, axis=2)
        mixed = keras.ops.dot_product_attention(query, key, value)
        return keras.ops.reshape(mixed, (-1, tokens, triple // 3))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 3)

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
