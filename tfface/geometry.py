"""Norms, unit rows and angles in TensorFlow whose gradients stay finite where the mathematical ones do not exist."""

import tensorflow as tf

# cos²θ this close to 1 leaves float32 no correct digit of sin θ, by which the derivative of the angle divides.
_MIN_SIN_SQUARED = 1e-7


def square_root(x: tf.Tensor) -> tf.Tensor:
    """Returns √x elementwise, with a gradient of zero at zero."""
    positive = x > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, x, 1.0)), 0.0)


def norms(x: tf.Tensor) -> tf.Tensor:
    """Returns the norms [N, 1] of rows [N, d], with a gradient of zero at a row of zeros."""
    return square_root(tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))


def unit(x: tf.Tensor) -> tf.Tensor:
    """Returns rows [N, d] of norm 1; a row of zeros stays, with a gradient of zero."""
    return tf.math.divide_no_nan(x, norms(x))


def unit_rows(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x̂ [B, d] and the factors [B, 1] that made it: 1/‖x‖, and 0 for rows of zeros.

    The largest magnitude is divided out first, so that neither tiny nor huge rows underflow or overflow when squared.
    """
    peak = tf.reduce_max(tf.abs(x), axis=-1, keepdims=True)
    peak = tf.where(peak > 0, peak, tf.ones_like(peak))
    x = x / peak
    scale = inverse_norms(x)
    return x * scale, scale / peak


def inverse_norms(x: tf.Tensor, in_xla: bool = False) -> tf.Tensor:
    """Returns 1/‖row‖ [N, 1] of x [N, d], and 0 for rows of zeros; `in_xla`: in a function that XLA compiles."""
    squares = tf.square(x)
    if in_xla and not tf.config.list_physical_devices("GPU"):
        # On a CPU, XLA writes what it sums to memory, here as much as the class weights, but not what it multiplies. On
        # a GPU, a product may have 10 bits of mantissa.
        squares = tf.linalg.matvec(squares, tf.ones(tf.shape(x)[-1:], x.dtype))[:, None]
    else:
        squares = tf.reduce_sum(squares, axis=-1, keepdims=True)
    return tf.math.divide_no_nan(tf.ones_like(squares), tf.sqrt(squares))


@tf.custom_gradient
def arccos(cosines: tf.Tensor) -> tf.Tensor:
    """Returns the exact angles of cosines, radians; their derivative is bounded near 0 and π."""
    cosines = tf.clip_by_value(cosines, -1.0, 1.0)

    def gradient(upstream):
        sin_squared = (1.0 - cosines) * (1.0 + cosines)
        return -upstream * tf.math.rsqrt(tf.maximum(sin_squared, _MIN_SIN_SQUARED))

    return tf.acos(cosines), gradient


def sine(cosine: tf.Tensor) -> tf.Tensor:
    """Returns sin θ [...] of cos θ, at least 3e-4, with a finite derivative everywhere."""
    return tf.sqrt(tf.maximum(1.0 - tf.square(cosine), _MIN_SIN_SQUARED))


def angle(cosine: tf.Tensor) -> tf.Tensor:
    """Returns θ [...] in radians of cos θ, with a finite derivative everywhere.

    It is consistent with `sine`, and so at least 3e-4; `arccos` is exact at 0 and π.
    """
    cosine = tf.clip_by_value(cosine, -1.0, 1.0)
    return tf.atan2(sine(cosine), cosine)
