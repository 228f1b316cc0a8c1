"""Inter-loss: the angles between the weights of a class and those of all others."""

import math

import keras
import tensorflow as tf

from tfface.classifier.labels import check_labels
from tfface.distribute.class_rows import ClassRows
from tfface.geometry import arccos, unit
from tfface.losses.base import EmbeddingLoss, as_class_rows, as_matrix


@keras.saving.register_keras_serializable("tfface")
class InterLoss(EmbeddingLoss):
    """Negative mean angle between an example's class and the others: −1/(π(K−1)) · Σ_{j≠y_i} arccos(Ŵ_{y_i}·Ŵ_j).

    With sub-centers, an example's class is the one nearest to its embedding, and each other class the one nearest to
    that.

    Args:
      **kwargs: of `keras.layers.Layer`.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 6.
    """

    takes = ("embeddings", "labels", "class_weights")
    takes_sub_centers = True

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor | ClassRows) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d], for the choice of sub-centers; it takes no gradient.
          labels: integer [B], each in [0, K).
          class_weights: float [K, d], any norm, K at least 2: `head.class_weights`; or `head.class_rows`.

        Returns:
          float32 [B], in [-1, 0].

        Raises:
          ValueError: wrong rank, labels that are not integers, or a single class.
          tf.errors.InvalidArgumentError: a label is out of range.
        """
        rows = as_class_rows(class_weights)
        labels = check_labels(labels, rows.num_classes)
        own = unit(rows.of_classes(labels))
        nearest = tf.argmax(tf.einsum("bd,bsd->bs", tf.stop_gradient(as_matrix(embeddings, "embeddings")), own), axis=1)
        own = tf.gather(own, nearest, batch_dims=1)
        # Partitioned, each replica compares the classes of the whole batch with its own classes.
        others = unit(rows.by_class())
        cosines = tf.matmul(own, tf.reshape(others, [-1, others.shape[2]]), transpose_b=True)
        cosines = tf.reduce_max(tf.reshape(cosines, [-1, *others.shape[:2]]), axis=2)
        classes = tf.range(*rows.classes, dtype=labels.dtype)
        # The angle of a class to itself, zero up to rounding, leaves the sum and its gradient.
        angles = tf.where(labels[:, None] == classes, 0.0, arccos(cosines))
        return -rows.sum_over_shards(tf.reduce_sum(angles, axis=1)) / (math.pi * (rows.num_classes - 1))
