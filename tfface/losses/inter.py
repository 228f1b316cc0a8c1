"""Inter-loss: the angles between the weights of a class and those of all others."""

import math

import keras
import tensorflow as tf

from tfface.classifier.labels import check_labels
from tfface.geometry import arccos, unit
from tfface.losses.base import EmbeddingLoss, as_matrix, take_rows


@keras.saving.register_keras_serializable("tfface")
class InterLoss(EmbeddingLoss):
    """Negative mean angle between an example's class and the others: −1/(π(K−1)) · Σ_{j≠y_i} arccos(Ŵ_{y_i}·Ŵ_j).

    Args:
      **kwargs: of `keras.layers.Layer`.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 6.
    """

    takes = ("embeddings", "labels", "class_weights")

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: ignored; here for the signature of `IntraLoss`.
          labels: integer [B], each in [0, K).
          class_weights: float [K, d], any norm, K at least 2: `head.class_weights`.

        Returns:
          float32 [B], in [-1, 0].

        Raises:
          ValueError: wrong rank, labels that are not integers, or a single class.
          tf.errors.InvalidArgumentError: a label is out of range.
        """
        class_weights = as_matrix(class_weights, "class_weights")
        num_classes = class_weights.shape[0]
        if num_classes < 2:
            raise ValueError(f"class_weights must hold at least 2 classes, got shape {class_weights.shape}.")
        labels = check_labels(labels, num_classes)
        class_weights = unit(class_weights)
        between = arccos(tf.matmul(take_rows(class_weights, labels), class_weights, transpose_b=True))
        # The angle of a class to itself, zero up to rounding, leaves the sum and its gradient.
        others = tf.reduce_sum(between, axis=1) - tf.gather(between, labels, batch_dims=1)
        return -others / (math.pi * (num_classes - 1))
