"""Norms of the rows of a matrix."""

import tensorflow as tf


def unit_rows(x):
    """Returns x̂ [B, d] and the factors [B, 1] that made it: 1/‖x‖, and 0 for rows of zeros.

    The largest magnitude is divided out first, so that neither tiny nor huge rows underflow or overflow when squared.
    """
    peak = tf.reduce_max(tf.abs(x), axis=-1, keepdims=True)
    peak = tf.where(peak > 0, peak, tf.ones_like(peak))
    x = x / peak
    scale = inverse_norms(x)
    return x * scale, scale / peak


def inverse_norms(x):
    """Returns 1/‖row‖ [N, 1] of x [N, d], and 0 for rows of zeros."""
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    return tf.math.divide_no_nan(tf.ones_like(squares), tf.sqrt(squares))
