"""Contrastive loss on genuine and impostor pairs."""

import keras
import tensorflow as tf

from tfface.geometry import norms
from tfface.losses.base import EmbeddingLoss, check_margin


@keras.saving.register_keras_serializable("tfface")
class ContrastiveLoss(EmbeddingLoss):
    """Squared distance of genuine pairs, squared shortfall from the margin of impostor pairs: d² or max(m − d, 0)².

    The paper's Eq. 4 has a factor ½ that tensorflow-addons, and this layer, leave out.

    Args:
      margin: float, m, distance beyond which impostor pairs cost nothing.
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: the margin is out of range.

    Reference:
      Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006, Eq. 4.
    """

    takes = ("pairs", "genuine")

    def __init__(self, margin: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.margin = check_margin(margin)

    def call(self, pairs, genuine) -> tf.Tensor:
        """Computes the losses of the pairs.

        Args:
          pairs: float [B], distances, or float [B, 2, d], the embeddings of both, compared by Euclidean distance.
          genuine: bool, integer or float [B], 1 for pairs of one identity, 0 for impostor pairs.

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank.
        """
        pairs, genuine = tf.convert_to_tensor(pairs), tf.convert_to_tensor(genuine)
        if genuine.shape.rank != 1:
            raise ValueError(f"genuine must have shape [B], got {genuine.shape}.")
        distances, genuine = _distances(pairs), tf.cast(genuine, tf.float32)
        shortfall = tf.nn.relu(self.margin - distances)
        return genuine * tf.square(distances) + (1.0 - genuine) * tf.square(shortfall)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


def _distances(pairs):
    if pairs.shape.rank != 1 and (pairs.shape.rank != 3 or pairs.shape[1] != 2):
        raise ValueError(f"pairs must have shape [B] or [B, 2, d], got {pairs.shape}.")
    pairs = tf.cast(pairs, tf.float32)
    return pairs if pairs.shape.rank == 1 else norms(pairs[:, 0] - pairs[:, 1])[:, 0]
