"""Norms, angles and distances in float32 whose gradients stay finite where the mathematical ones do not exist."""

import tensorflow as tf

# cos²θ this close to 1 leaves float32 no correct digit of sin θ, by which the derivative of the angle divides.
_MIN_SIN_SQUARED = 1e-7

DISTANCES = ("angular", "cosine", "euclidean", "squared_euclidean")


def square_root(x):
    """Returns √x elementwise, with a gradient of zero at zero."""
    positive = x > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, x, 1.0)), 0.0)


def norms(x):
    """Returns the norms [N, 1] of rows [N, d]."""
    return square_root(tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))


def unit(x):
    """Returns rows [N, d] of norm 1; a row of zeros stays, with a gradient of zero."""
    return tf.math.divide_no_nan(x, norms(x))


@tf.custom_gradient
def angles(cosines):
    """Returns arccos of cosines, radians, with a gradient that is bounded at ±1."""
    cosines = tf.clip_by_value(cosines, -1.0, 1.0)

    def gradient(upstream):
        sin_squared = (1.0 - cosines) * (1.0 + cosines)
        return -upstream * tf.math.rsqrt(tf.maximum(sin_squared, _MIN_SIN_SQUARED))

    return tf.acos(cosines), gradient


@tf.custom_gradient
def take_rows(x, rows):
    """Returns x[rows] with a dense gradient.

    IndexedSlices, added to the dense gradient of a head, would drag all of it through an optimizer's sparse update.
    """

    def gradient(upstream):
        return tf.math.unsorted_segment_sum(upstream, rows, tf.shape(x)[0]), None

    return tf.gather(x, rows), gradient


def pairwise_distances(x, distance):
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
        distances = angles(cosines) if distance == "angular" else tf.maximum(1.0 - cosines, 0.0)
    else:
        squares = tf.reduce_sum(tf.square(x), axis=1)
        distances = squares[:, None] + squares[None, :] - 2.0 * tf.matmul(x, x, transpose_b=True)
        # Rounding can make the square of a small distance negative.
        distances = tf.maximum(distances, 0.0)
        if distance == "euclidean":
            distances = square_root(distances)
    return tf.linalg.set_diag(distances, tf.zeros_like(distances[:, 0]))
