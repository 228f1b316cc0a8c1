"""Triplet loss: an anchor is closer to its positives than to its negatives, by a margin."""

import keras
import tensorflow as tf

from tfface.checks import check_option
from tfface.losses.base import EmbeddingLoss, check_margin
from tfface.losses.distances import DISTANCES
from tfface.losses.whole_batch import Comparisons, compare, total


@keras.saving.register_keras_serializable("tfface")
class TripletLoss(EmbeddingLoss):
    """Hinge on distance to positive − distance to negative + margin, for triplets mined in the batch.

    Under a tf.distribute strategy the batch is that of all replicas. `mining` chooses the triplets:

    * "batch_hard": per anchor, its farthest example of the same identity (itself, at distance 0, where it is alone)
      and its nearest negative. The loss is that of the anchor.
    * "semi_hard": per anchor and positive, the nearest of the negatives that are farther than the positive, or the
      farthest negative where none is.
    * "all": every triplet, in memory of order B³ / replicas.

    The losses of an anchor in the latter two are scaled such that the mean over the batch is the mean over the
    triplets of the batch. An anchor without a triplet has loss 0.

    Embeddings are taken as they are by the Euclidean distances: normalise them first for FaceNet's loss.

    Args:
      margin: float, m; radians for "angular".
      mining: "batch_hard", "semi_hard" or "all".
      distance: "angular" (arccos), "cosine" (1 − cos), "euclidean" or "squared_euclidean".
      soft: bool, softplus(distance to positive − distance to negative) in place of the hinge, without the margin.
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: an option or the margin is out of range.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, §2.3 (angular).
      Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015, Eq. 3 and §3.2.
      Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, Eqs. 5 and 6, §2 (soft).
    """

    def __init__(
        self, margin: float = 0.2, mining: str = "batch_hard", distance: str = "angular", soft: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        check_option("mining", mining, _MINERS)
        check_option("distance", distance, DISTANCES)
        self.margin = check_margin(margin)
        self.mining = mining
        self.distance = distance
        self.soft = bool(soft)

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Computes the losses of the anchors of this replica.

        Args:
          embeddings: float [B, d].
          labels: integer [B], any range; that of int32 under several replicas.

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank, or labels that are not integers.
        """
        return _MINERS[self.mining](compare(embeddings, labels, self.distance), self._cost)

    def _cost(self, difference):
        return tf.nn.softplus(difference) if self.soft else tf.nn.relu(difference + self.margin)

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "mining": self.mining,
            "distance": self.distance,
            "soft": self.soft,
        }


def _batch_hard(batch: Comparisons, cost):
    farthest_positive = tf.reduce_max(tf.where(batch.same, batch.distances, 0.0), axis=1)
    # A negative that does not exist is infinitely far and costs nothing.
    nearest_negative = tf.reduce_min(tf.where(batch.same, float("inf"), batch.distances), axis=1)
    return cost(farthest_positive - nearest_negative)


def _semi_hard(batch: Comparisons, cost):
    # Per anchor, negatives are sorted and each positive's distance is looked up there: memory is of order B².
    to_negatives = tf.where(batch.same, float("inf"), batch.distances)
    order = tf.argsort(to_negatives, axis=1)
    farther = tf.searchsorted(tf.gather(to_negatives, order, batch_dims=1), batch.distances, side="right")
    last = tf.reduce_sum(tf.cast(~batch.same, tf.int32), axis=1, keepdims=True) - 1
    chosen = tf.gather(order, tf.maximum(tf.minimum(farther, last), 0), batch_dims=1)
    to_chosen = tf.gather(batch.distances, chosen, batch_dims=1)
    is_triplet = batch.same & ~batch.itself & (last >= 0)
    return _per_anchor(cost(batch.distances - to_chosen), is_triplet)


def _all(batch: Comparisons, cost):
    costs = cost(batch.distances[:, :, None] - batch.distances[:, None, :])
    return _per_anchor(costs, (batch.same & ~batch.itself)[:, :, None] & ~batch.same[:, None, :])


_MINERS = {"batch_hard": _batch_hard, "semi_hard": _semi_hard, "all": _all}


def _per_anchor(costs, is_triplet):
    """Sums over the triplets of each anchor, scaled to a mean over all anchors that is the mean over all triplets."""
    axes = list(range(1, costs.shape.rank))
    sums = tf.reduce_sum(tf.where(is_triplet, costs, 0.0), axis=axes)
    examples = tf.cast(tf.shape(costs)[1], tf.float32)
    return sums * tf.math.divide_no_nan(examples, total(tf.reduce_sum(tf.cast(is_triplet, tf.float32))))
