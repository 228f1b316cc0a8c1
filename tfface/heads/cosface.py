"""CosFace: softmax with an additive cosine margin."""

import keras
import tensorflow as tf

from tfface.checks import check_range
from tfface.heads.margin_softmax import MarginSoftmax


@keras.saving.register_keras_serializable("tfface")
class CosFace(MarginSoftmax):
    """Large-margin cosine loss (CosFace, AM-Softmax): ψ(t) = t − m.

    Args:
      num_classes: int, identities K.
      scale: float, s; 64 in CosFace, 30 in AM-Softmax.
      margin: float, m, a difference of cosines in [0, 1].
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: `margin` is outside [0, 1].

    Reference:
      Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, Eq. 4.
    """

    def __init__(self, num_classes: int, scale: float = 64.0, margin: float = 0.35, **kwargs):
        super().__init__(num_classes, scale, **kwargs)
        check_range("margin", margin, 0, 1)
        self.margin = float(margin)

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return target - self.margin

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
