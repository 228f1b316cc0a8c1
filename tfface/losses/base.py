"""Base of the losses on embeddings: the layer, the checks of its inputs and the rows that it takes."""

import math

import keras
import tensorflow as tf

from tfface.distribute.class_rows import ClassRows
from tfface.distribute.partitioned_variable import PartitionedVariable


class EmbeddingLoss(keras.layers.Layer):
    """A layer that computes in float32 whatever the dtype policy of the network.

    Args:
      **kwargs: of `keras.layers.Layer`.
    """

    # The arguments of `call`, in order: "embeddings" [B, d], "labels" [B], "class_weights" [K, d].
    takes: tuple[str, ...] = ("embeddings", "labels")
    # Whether classes may have several rows of weights.
    takes_sub_centers = False

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


def as_class_rows(class_weights: "tf.Tensor | ClassRows") -> ClassRows:
    """Returns the rows of class weights [K, d], or those that a head gives by itself.

    Raises:
      ValueError: not a matrix, a single class, or the share of one replica.
    """
    if isinstance(class_weights, ClassRows):
        rows = class_weights
    else:
        if (
            isinstance(class_weights, PartitionedVariable)
            and ClassRows(class_weights, class_weights.num_classes).partial
        ):
            raise ValueError(
                "class_weights are partitioned, and a replica has some classes only: use "
                "tfface.heads.HeadWithLosses(head, [(weight, loss)])."
            )
        matrix = as_matrix(class_weights, "class_weights")
        rows = ClassRows(matrix, matrix.shape[0])
    if rows.num_classes < 2:
        raise ValueError(f"class_weights must hold at least 2 classes, got shape {rows.variable.shape}.")
    return rows
