"""Distances between embeddings."""

import tensorflow as tf

from tfface.geometry import arccos, square_root, unit

DISTANCES = ("angular", "cosine", "euclidean", "squared_euclidean")


def pairwise_distances(x: tf.Tensor, distance: str) -> tf.Tensor:
    """Computes the distances between all rows of a matrix.

    Args:
      x: float32 [N, d].
      distance: one of `DISTANCES`; the angular (radians) and the cosine distance (1 − cos) ignore norms.

    Returns:
      float32 [N, N], its diagonal zero.
    """
    if distance in ("angular", "cosine"):
        x = unit(x)
        cosines = tf.matmul(x, x, transpose_b=True)
        distances = arccos(cosines) if distance == "angular" else tf.maximum(1.0 - cosines, 0.0)
    else:
        squares = tf.reduce_sum(tf.square(x), axis=1)
        distances = squares[:, None] + squares[None, :] - 2.0 * tf.matmul(x, x, transpose_b=True)
        # Rounding can make the square of a small distance negative.
        distances = tf.maximum(distances, 0.0)
        if distance == "euclidean":
            distances = square_root(distances)
    return tf.linalg.set_diag(distances, tf.zeros_like(distances[:, 0]))
