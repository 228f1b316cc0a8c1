"""ResNet-50 for retrieval, where training starts from ImageNet's weights."""

import keras
from keras import layers

from tfface.backbones.batch_norm import FusedBatchNormalization
from tfface.backbones.layers import check_embedding_dim, full_precision, image_input

# Mean of ImageNet's pixels in [0, 255]: blue, green, red, the order of Keras' weights.
_MEAN = (103.939, 116.779, 123.68)


def ResNet50(
    embedding_dim: int = 512, image_size: int | tuple[int, int] = 224, weights: str | None = None
) -> keras.Model:
    """Builds ResNet-50 with average pooling and a linear embedding.

    Args:
      embedding_dim: int, size D of the embedding.
      image_size: int or (height, width), pixels, at least 56.
      weights: None for random ones, "imagenet" to download Keras' own, or the path of their "notop" file.

    Returns:
      keras.Model that maps float images [N, height, width, 3], RGB in [-1, 1], to embeddings [N, D], not normalised.

    Raises:
      ValueError: `image_size` or `embedding_dim` out of range, or no such file of weights.

    Reference:
      He et al., "Deep Residual Learning for Image Recognition", 2016; Kim et al., "BroadFace", 2020, Section 4.3.
    """
    check_embedding_dim(embedding_dim)
    inputs = image_input(image_size)
    x = keras.ops.flip(inputs, axis=-1)
    x = layers.Rescaling(127.5, [127.5 - mean for mean in _MEAN], dtype=full_precision())(x)
    pooled = keras.applications.ResNet50(include_top=False, weights=weights, input_tensor=x, pooling="avg").output
    outputs = layers.Dense(embedding_dim, dtype=full_precision(), name="embedding")(pooled)
    of_keras = keras.Model(inputs, outputs, name="resnet50")
    model = keras.models.clone_model(of_keras, clone_function=_with_our_batch_norm)
    model.set_weights(of_keras.get_weights())
    return model


def _with_our_batch_norm(layer):
    kind = FusedBatchNormalization if isinstance(layer, layers.BatchNormalization) else type(layer)
    return kind.from_config(layer.get_config())
