"""AdaFace: a margin that adapts to image quality, read from the norm of the embedding."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_range
from tfface.geometry import angle
from tfface.heads.margin_softmax import MarginSoftmax

_MAX_COSINE = 1.0 - 1e-3
_MIN_ANGLE = 1e-3


@keras.saving.register_keras_serializable("tfface")
class AdaFace(MarginSoftmax):
    """Angular margin −m·q and cosine margin m + m·q, where q in [−1, 1] grows with the norm of the embedding.

    q is the norm, standardised by mean and deviation of the batch, times h and clipped; it takes no gradient.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      margin: float, m, in [0, 1].
      concentration: float, h, positive.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: `margin` or `concentration` is out of range.

    Reference:
      Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", 2022, Eqs. 14-16.
    """

    compares_examples = True

    def __init__(
        self, num_classes: int, scale: float = 64.0, margin: float = 0.4, concentration: float = 0.333, **kwargs
    ):
        super().__init__(num_classes, scale, **kwargs)
        check_range("margin", margin, 0, 1)
        check_range("concentration", concentration, 1e-6, math.inf)
        self.margin = float(margin)
        self.concentration = float(concentration)

    def context(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        norm = tf.clip_by_value(tf.stop_gradient(tf.norm(embeddings, axis=1)), 0.001, 100.0)
        count = tf.cast(tf.size(norm), tf.float32)
        total, count = tf.unstack(self.sum_over_batch(tf.stack([tf.reduce_sum(norm), count])))
        mean = total / count
        # The unbiased deviation; a single example has none.
        deviation = tf.sqrt(self.sum_over_batch(tf.reduce_sum(tf.square(norm - mean))) / tf.maximum(count - 1.0, 1.0))
        quality = self.concentration * (norm - mean) / (deviation + 1e-3)
        return {"quality": tf.clip_by_value(quality, -1.0, 1.0)}

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.scale * tf.clip_by_value(cosines, -_MAX_COSINE, _MAX_COSINE)

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        theta = angle(tf.clip_by_value(target, -_MAX_COSINE, _MAX_COSINE)) - self.margin * context["quality"]
        theta = tf.clip_by_value(theta, _MIN_ANGLE, math.pi - _MIN_ANGLE)
        return tf.cos(theta) - self.margin * (1.0 + context["quality"])

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "concentration": self.concentration}
