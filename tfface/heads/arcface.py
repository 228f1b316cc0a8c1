"""ArcFace: softmax with an additive angular margin."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_option, check_range
from tfface.heads.margin_softmax import MarginSoftmax
from tfface.heads.margins import GRADIENTS, OVERFLOWS, angular_margin


@keras.saving.register_keras_serializable("tfface")
class ArcFace(MarginSoftmax):
    """Additive angular margin: ψ(t) = cos(arccos t + m).

    Args:
      num_classes: int, identities K.
      scale: float, s.
      margin: float, m, radians in [0, π/2].
      gradient: "exact" or "straight_through", see `CombinedMargin`.
      overflow: "fallback" or "none", see `CombinedMargin`.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: an option or the margin is out of range.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 3.
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        margin: float = 0.5,
        gradient: str = "exact",
        overflow: str = "fallback",
        **kwargs,
    ):
        super().__init__(num_classes, scale, **kwargs)
        check_range("margin", margin, 0, math.pi / 2, "radians")
        check_option("gradient", gradient, GRADIENTS)
        check_option("overflow", overflow, OVERFLOWS)
        self.margin = float(margin)
        self.gradient = gradient
        self.overflow = overflow

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return angular_margin(target, m2=self.margin, gradient=self.gradient, overflow=self.overflow)

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "gradient": self.gradient,
            "overflow": self.overflow,
        }
