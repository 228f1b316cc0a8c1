"""The layer that every loss on embeddings is, and the checks of its inputs."""

import math

import keras
import tensorflow as tf


class EmbeddingLoss(keras.layers.Layer):
    """A layer that computes in float32 whatever the dtype policy of the network.

    Args:
      **kwargs: of `keras.layers.Layer`.
    """

    # What `call` takes, in order: "embeddings" [B, d], "labels" [B], "class_weights" [K, d].
    takes = ("embeddings", "labels")

    def __init__(self, **kwargs):
        # Distances of near neighbours need float32, so inputs are not cast to the policy's compute dtype.
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)


def as_matrix(value, name):
    """Returns float32 [N, d] of `value`, and names it in the ValueError for another rank."""
    value = tf.convert_to_tensor(value)
    if value.shape.rank != 2:
        raise ValueError(f"{name} must be a matrix of row vectors, got shape {value.shape}.")
    return tf.cast(value, tf.float32)


def as_identities(labels):
    """Returns integer labels [B] that are compared with one another only, hence of any range."""
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise ValueError(f"labels must be integers, got {labels.dtype.name}.")
    if labels.shape.rank != 1:
        raise ValueError(f"labels must have shape [B], got {labels.shape}.")
    return labels


def check_margin(margin):
    """Returns a finite margin of at least 0 as float."""
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must be finite and at least 0, got {margin!r}.")
    return float(margin)
