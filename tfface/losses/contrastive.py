"""Contrastive loss on genuine and impostor pairs."""

import keras
import tensorflow as tf

from tfface.checks import check_option
from tfface.geometry import norms
from tfface.losses.base import EmbeddingLoss, check_margin
from tfface.losses.distances import DISTANCES
from tfface.losses.whole_batch import compare


@keras.saving.register_keras_serializable("tfface")
class ContrastiveLoss(EmbeddingLoss):
    """Squared distance of genuine pairs, squared shortfall from the margin of impostor pairs: d² or max(m − d, 0)².

    The paper's Eq. 4 has a factor ½ that tensorflow-addons, and this layer, leave out.

    With `mining="all"` the layer takes embeddings and labels, and every two examples of the batch are a pair, under a
    tf.distribute strategy those of all replicas. The loss of an example is the mean over its pairs; the mean over the
    batch is then that over all pairs.

    Args:
      margin: float, m, distance beyond which impostor pairs cost nothing.
      mining: None: `call` takes pairs. "all": it takes embeddings and labels, as `HeadWithLosses` and `FaceModel` need.
      distance: of mined pairs, "euclidean", "angular" (arccos), "cosine" (1 − cos) or "squared_euclidean"; given pairs
        are compared by Euclidean distance.
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: an option or the margin is out of range.

    Reference:
      Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006, Eq. 4.
    """

    takes: tuple[str, ...] = ("pairs", "genuine")

    def __init__(self, margin: float = 1.0, mining: str | None = None, distance: str = "euclidean", **kwargs):
        super().__init__(**kwargs)
        check_option("mining", mining, (None, "all"))
        check_option("distance", distance, DISTANCES)
        if mining is None and distance != "euclidean":
            raise ValueError(f"distance is an option of mined pairs: pass mining='all'; got distance={distance!r}.")
        self.margin = check_margin(margin)
        self.mining = mining
        self.distance = distance
        if mining:
            self.takes = EmbeddingLoss.takes

    def call(self, pairs, genuine) -> tf.Tensor:
        """Computes the losses of the pairs, or of the examples with `mining`.

        Args:
          pairs: float [B], distances, or float [B, 2, d], the embeddings of both, compared by Euclidean distance; with
            `mining` embeddings, float [B, d].
          genuine: bool, integer or float [B], 1 for pairs of one identity, 0 for impostor pairs; with `mining` labels,
            integer [B].

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank, or labels that are not integers.
        """
        if self.mining:
            return self._mined(pairs, genuine)
        pairs, genuine = tf.convert_to_tensor(pairs), tf.convert_to_tensor(genuine)
        if genuine.shape.rank != 1:
            raise ValueError(f"genuine must have shape [B], got {genuine.shape}.")
        return self._costs(_distances(pairs), tf.cast(genuine, tf.float32))

    def _mined(self, embeddings, labels):
        batch = compare(embeddings, labels, self.distance)
        costs = tf.where(batch.itself, 0.0, self._costs(batch.distances, tf.cast(batch.same, tf.float32)))
        others = tf.cast(tf.shape(costs)[1] - 1, tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(costs, axis=1), others)

    def _costs(self, distances, genuine):
        shortfall = tf.nn.relu(self.margin - distances)
        return genuine * tf.square(distances) + (1.0 - genuine) * tf.square(shortfall)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "mining": self.mining, "distance": self.distance}


def _distances(pairs):
    if pairs.shape.rank != 1 and (pairs.shape.rank != 3 or pairs.shape[1] != 2):
        raise ValueError(f"pairs must have shape [B] or [B, 2, d], got {pairs.shape}.")
    pairs = tf.cast(pairs, tf.float32)
    return pairs if pairs.shape.rank == 1 else norms(pairs[:, 0] - pairs[:, 1])[:, 0]
