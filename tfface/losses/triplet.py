"""Triplet loss: an anchor is closer to its positives than to its negatives, by a margin."""

import keras
import tensorflow as tf

from tfface.checks import check_option
from tfface.losses.base import EmbeddingLoss, as_identities, as_matrix, check_margin
from tfface.losses.distances import DISTANCES, pairwise_distances


@keras.saving.register_keras_serializable("tfface")
class TripletLoss(EmbeddingLoss):
    """Hinge on distance to positive − distance to negative + margin, for triplets mined in the batch.

    `mining` chooses the triplets:

    * "batch_hard": per anchor, its farthest example of the same identity (itself, at distance 0, where it is alone)
      and its nearest negative. The loss is that of the anchor.
    * "semi_hard": per anchor and positive, the nearest of the negatives that are farther than the positive, or the
      farthest negative where none is.
    * "all": every triplet, in memory of order B³.

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
        """Computes the per-anchor losses.

        Args:
          embeddings: float [B, d].
          labels: integer [B], any range.

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank, or labels that are not integers.
        """
        distances = pairwise_distances(as_matrix(embeddings, "embeddings"), self.distance)
        labels = as_identities(labels)
        same = labels[:, None] == labels[None, :]
        return _MINERS[self.mining](distances, same, self._cost)

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


def _batch_hard(distances, same, cost):
    farthest_positive = tf.reduce_max(tf.where(same, distances, 0.0), axis=1)
    # A negative that does not exist is infinitely far and costs nothing.
    nearest_negative = tf.reduce_min(tf.where(same, float("inf"), distances), axis=1)
    return cost(farthest_positive - nearest_negative)


def _semi_hard(distances, same, cost):
    # Per anchor, negatives are sorted and each positive's distance is looked up there: memory is of order B².
    to_negatives = tf.where(same, float("inf"), distances)
    order = tf.argsort(to_negatives, axis=1)
    farther = tf.searchsorted(tf.gather(to_negatives, order, batch_dims=1), distances, side="right")
    last = tf.reduce_sum(tf.cast(~same, tf.int32), axis=1, keepdims=True) - 1
    chosen = tf.gather(order, tf.maximum(tf.minimum(farther, last), 0), batch_dims=1)
    to_chosen = tf.gather(distances, chosen, batch_dims=1)
    return _per_anchor(cost(distances - to_chosen), _positives(same) & (last >= 0))


def _all(distances, same, cost):
    costs = cost(distances[:, :, None] - distances[:, None, :])
    return _per_anchor(costs, _positives(same)[:, :, None] & ~same[:, None, :])


_MINERS = {"batch_hard": _batch_hard, "semi_hard": _semi_hard, "all": _all}


def _positives(same):
    return tf.linalg.set_diag(same, tf.zeros_like(same[:, 0]))


def _per_anchor(costs, is_triplet):
    """Sums [B] over the triplets of each anchor, scaled to a batch mean that is the mean over triplets."""
    axes = list(range(1, costs.shape.rank))
    sums = tf.reduce_sum(tf.where(is_triplet, costs, 0.0), axis=axes)
    batch = tf.cast(tf.shape(sums)[0], tf.float32)
    return sums * tf.math.divide_no_nan(batch, tf.reduce_sum(tf.cast(is_triplet, tf.float32)))
