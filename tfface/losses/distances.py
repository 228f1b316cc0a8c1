"""Distances between the embeddings of a batch."""

import tensorflow as tf

from tfface.geometry import arccos, square_root, unit

DISTANCES = ("angular", "cosine", "euclidean", "squared_euclidean")


def distances_to_batch(x: tf.Tensor, batch: tf.Tensor, itself: tf.Tensor, distance: str) -> tf.Tensor:
    """Computes the distances of examples to all examples of a batch that they belong to.

    Args:
      x: float32 [N, d].
      batch: float32 [B, d].
      itself: bool [N, B], True where both are one example.
      distance: one of `DISTANCES`; the angular (radians) and the cosine distance (1 − cos) ignore norms.

    Returns:
      float32 [N, B], zero from an example to itself.
    """
    if distance in ("angular", "cosine"):
        cosines = tf.matmul(unit(x), unit(batch), transpose_b=True)
        distances = arccos(cosines) if distance == "angular" else tf.maximum(1.0 - cosines, 0.0)
    else:
        squares, squares_of_batch = (tf.reduce_sum(tf.square(rows), axis=1) for rows in (x, batch))
        distances = squares[:, None] + squares_of_batch[None, :] - 2.0 * tf.matmul(x, batch, transpose_b=True)
        # Rounding can make the square of a small distance negative.
        distances = tf.maximum(distances, 0.0)
        if distance == "euclidean":
            distances = square_root(distances)
    return tf.where(itself, 0.0, distances)
