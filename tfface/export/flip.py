"""Embeddings of an image together with its horizontal flip, of arrays and as a network."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def embed_with_flip(
    embed: Callable[[np.ndarray | tf.Tensor], np.ndarray], images: np.ndarray | tf.Tensor, flip: bool
) -> np.ndarray:
    """Embeds images; with `flip`, as the normalised sum of the embeddings of each image and its flip.

    InsightFace sums raw embeddings; here both have unit length, so that they count the same.

    Args:
      embed: function from images [N, H, W, 3] to unit rows, float [N, D].
      images: float32 [N, H, W, 3].
      flip: bool.

    Returns:
      float [N, D] of the dtype of `embed`, of unit length, or zero where the embeddings are.
    """
    vectors = embed(images)
    if not flip:
        return vectors
    vectors = vectors + embed(images[:, :, ::-1])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def with_mirror(encoder: keras.Model) -> keras.Model:
    """Makes a network whose embedding is the sum of the unit embeddings of an image and its flip.

    Every export normalises this sum, and then gives the same embeddings as `embed_with_flip`.

    Args:
      encoder: keras.Model from images [N, H, W, 3] to embeddings [N, D], with H and W fixed.

    Returns:
      keras.Model of the same form, in float32; it shares the weights of the encoder.
    """

    def unit(image):
        return keras.ops.normalize(keras.ops.cast(encoder(image), "float32"), axis=-1, epsilon=1e-12)

    image = keras.Input(encoder.input_shape[1:])
    return keras.Model(image, unit(image) + unit(keras.ops.flip(image, axis=2)))
