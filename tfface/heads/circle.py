"""Circle loss with class weights."""

import keras
import tensorflow as tf

from tfface.checks import check_range
from tfface.heads.base import ClassificationHead


@keras.saving.register_keras_serializable("tfface")
class CircleLoss(ClassificationHead):
    """Circle loss on classes: every cosine is weighted by its own distance from its optimum.

        u(z) = γ·[z + m]₊·(z − m)          F(t, a) = softplus(a − γ·[1 + m − t]₊·(t − 1 + m))

    The weights [·]₊ take no gradient.

    Args:
      num_classes: int, identities K.
      scale: float, γ, positive.
      margin: float, m, in [0, 1].
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: `scale` or `margin` is out of range.

    Reference:
      Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", 2020, Eq. 6.
    """

    def __init__(self, num_classes: int, scale: float = 256.0, margin: float = 0.25, **kwargs):
        super().__init__(num_classes, **kwargs)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale!r}.")
        check_range("margin", margin, 0, 1)
        self.scale = float(scale)
        self.margin = float(margin)

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        weight = tf.stop_gradient(tf.nn.relu(cosines + self.margin))
        return self.scale * weight * (cosines - self.margin)

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.math.softplus(total - self.target_logit(target, context))

    def target_logit(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        weight = tf.stop_gradient(tf.nn.relu(1.0 + self.margin - target))
        return self.scale * weight * (target - 1.0 + self.margin)

    def plain_logit(self, cosines: tf.Tensor) -> tf.Tensor:
        return self.scale * cosines

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "margin": self.margin}
