"""Base of the losses on embeddings: the layer, the checks of its inputs and the rows that it takes."""

import math

import keras
import tensorflow as tf


class EmbeddingLoss(keras.layers.Layer):
    """A layer that computes in float32 whatever the dtype policy of the network.

    Args:
      **kwargs: of `keras.layers.Layer`.
    """

    # The arguments of `call`, in order: "embeddings" [B, d], "labels" [B], "class_weights" [K, d].
    takes: tuple[str, ...] = ("embeddings", "labels")

    def __init__(self, **kwargs):
        # Distances of near neighbours need float32, so inputs are not cast to the policy's compute dtype.
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)


def as_matrix(value, name: str) -> tf.Tensor:
    """Returns float32 [N, d] of `value`, raises ValueError with its name for another rank."""
    value = tf.convert_to_tensor(value)
    if value.shape.rank != 2:
        raise ValueError(f"{name} must be a matrix of row vectors, got shape {value.shape}.")
    return tf.cast(value, tf.float32)


def as_identities(labels: tf.Tensor) -> tf.Tensor:
    """Returns integer labels [B] of any range, because they are only compared with each other."""
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise ValueError(f"labels must be integers, got {labels.dtype.name}.")
    if labels.shape.rank != 1:
        raise ValueError(f"labels must have shape [B], got {labels.shape}.")
    return labels


def check_margin(margin: float) -> float:
    """Returns a finite margin of at least 0 as float."""
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must be finite and at least 0, got {margin!r}.")
    return float(margin)


@tf.custom_gradient
def take_rows(x: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns x[rows] with a dense gradient.

    IndexedSlices would be added to the dense gradient of a head, and all of it would take an optimizer's sparse update.
    """

    def gradient(upstream):
        return tf.math.unsorted_segment_sum(upstream, rows, tf.shape(x)[0]), None

    return tf.gather(x, rows), gradient
