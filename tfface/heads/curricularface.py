"""CurricularFace: ArcFace whose hard negatives gain weight as training continues."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_range
from tfface.heads.margin_softmax import MarginSoftmax
from tfface.heads.margins import angular_margin


@keras.saving.register_keras_serializable("tfface")
class CurricularFace(MarginSoftmax):
    """ArcFace's margin on the target; negatives that are nearer than it cost s·z·(τ + z) instead of s·z.

    τ is a running mean of the target cosines, updated before its use in each training step and kept with the weights.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      margin: float, m, radians in [0, π/2].
      momentum: float in [0, 1], of τ.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: `margin` or `momentum` is out of range.

    Reference:
      Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition", 2020, Eqs. 6, 9.
    """

    def __init__(self, num_classes: int, scale: float = 64.0, margin: float = 0.5, momentum: float = 0.99, **kwargs):
        super().__init__(num_classes, scale, **kwargs)
        check_range("margin", margin, 0, math.pi / 2, "radians")
        check_range("momentum", momentum, 0, 1)
        self.margin = float(margin)
        self.momentum = float(momentum)

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape, labels_shape)
        self.tau = self.add_weight(
            name="tau", shape=(), initializer="zeros", trainable=False, autocast=False, aggregation="mean"
        )

    def context(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        target = tf.stop_gradient(self.target_cosines(embeddings, labels))
        tau = tf.convert_to_tensor(self.tau)
        if training:
            total = tf.stack([tf.reduce_sum(target), tf.cast(tf.size(target), tf.float32)])
            total, count = tf.unstack(self.sum_over_batch(total))
            tau = self.momentum * tau + (1.0 - self.momentum) * total / count
            self.tau.assign(tau)
        return {
            "tau": tf.broadcast_to(tau, tf.shape(target)),
            # Without the fallback: the mask compares with cos(θ + m) itself.
            "threshold": angular_margin(target, m2=self.margin, overflow="none"),
        }

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        hard = cosines > context["threshold"]
        return self.scale * tf.where(hard, cosines * (context["tau"] + cosines), cosines)

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return angular_margin(target, m2=self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "momentum": self.momentum}
