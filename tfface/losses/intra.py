"""Intra-loss: the angle between an embedding and the weights of its class."""

import math

import keras
import tensorflow as tf

from tfface.classifier.labels import check_labels
from tfface.geometry import arccos, unit
from tfface.losses.base import EmbeddingLoss, as_matrix, take_rows


@keras.saving.register_keras_serializable("tfface")
class IntraLoss(EmbeddingLoss):
    """Angle between each embedding and its class weights, as a fraction of π: θ_{y_i} / π.

    Args:
      **kwargs: of `keras.layers.Layer`.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 5.
    """

    takes = ("embeddings", "labels", "class_weights")

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d], any norm.
          labels: integer [B], each in [0, K).
          class_weights: float [K, d], any norm: `head.class_weights`.

        Returns:
          float32 [B], in [0, 1].

        Raises:
          ValueError: wrong rank, or labels that are not integers.
          tf.errors.InvalidArgumentError: a label is out of range.
        """
        embeddings, class_weights = as_matrix(embeddings, "embeddings"), as_matrix(class_weights, "class_weights")
        own = take_rows(class_weights, check_labels(labels, class_weights.shape[0]))
        return arccos(tf.reduce_sum(unit(embeddings) * unit(own), axis=1)) / math.pi
