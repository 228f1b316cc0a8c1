"""Intra-loss: the angle between an embedding and the weights of its class."""

import math

import keras
import tensorflow as tf

from tfface.classifier.labels import check_labels
from tfface.distribute.class_rows import ClassRows
from tfface.geometry import arccos, unit
from tfface.losses.base import EmbeddingLoss, as_class_rows, as_matrix


@keras.saving.register_keras_serializable("tfface")
class IntraLoss(EmbeddingLoss):
    """Angle between each embedding and its class weights, as a fraction of π: θ_{y_i} / π.

    With sub-centers, each example uses its nearest one.

    Args:
      **kwargs: of `keras.layers.Layer`.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 5.
    """

    takes = ("embeddings", "labels", "class_weights")
    takes_sub_centers = True

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor | ClassRows) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d], any norm.
          labels: integer [B], each in [0, K).
          class_weights: float [K, d], any norm, K at least 2: `head.class_weights`; or `head.class_rows`.

        Returns:
          float32 [B], in [0, 1].

        Raises:
          ValueError: wrong rank, labels that are not integers, or a single class.
          tf.errors.InvalidArgumentError: a label is out of range.
        """
        rows = as_class_rows(class_weights)
        labels = check_labels(labels, rows.num_classes)
        return arccos(rows.target_cosines(unit(as_matrix(embeddings, "embeddings")), labels)) / math.pi
