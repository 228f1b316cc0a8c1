"""CombinedMargin: multiplicative, additive angular and additive cosine margin in one."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_option, check_range
from tfface.heads.margin_softmax import MarginSoftmax
from tfface.heads.margins import GRADIENTS, OVERFLOWS, angular_margin


@keras.saving.register_keras_serializable("tfface")
class CombinedMargin(MarginSoftmax):
    """The margin family of ArcFace: ψ(t) = cos(m1·arccos t + m2) − m3.

    Public implementations differ in two places, which are options here:

    * `gradient`: "exact" differentiates ψ; "straight_through" adds the margin without a gradient of its own
      (∂ψ/∂t = 1), as arcface_torch does since December 2022, milder at small angles and harder at large ones.
    * `overflow`, beyond m1·θ + m2 = π, where the cosine would rise again: "fallback" continues downwards (for m1 = 1 by
      t − m2·sin m2, as usual); "none" leaves the cosine as it is.

    The paper's presets: `CombinedMargin.CM1` = (1, 0.3, 0.2) and `CombinedMargin.CM2` = (0.9, 0.4, 0.15), used as
    `CombinedMargin(num_classes, **CombinedMargin.CM2)`.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      m1: float in [0.1, 10], factor of the angle.
      m2: float in [0, π/2], radians.
      m3: float in [0, 1], a difference of cosines.
      gradient: "exact" or "straight_through".
      overflow: "fallback" or "none".
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: an option or a margin is out of range.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 4 and Table 2.
    """

    CM1 = {"m1": 1.0, "m2": 0.3, "m3": 0.2}
    CM2 = {"m1": 0.9, "m2": 0.4, "m3": 0.15}

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        m1: float = 1.0,
        m2: float = 0.3,
        m3: float = 0.2,
        gradient: str = "exact",
        overflow: str = "fallback",
        **kwargs,
    ):
        super().__init__(num_classes, scale, **kwargs)
        check_range("m1", m1, 0.1, 10)
        check_range("m2", m2, 0, math.pi / 2, "radians")
        check_range("m3", m3, 0, 1)
        check_option("gradient", gradient, GRADIENTS)
        check_option("overflow", overflow, OVERFLOWS)
        self.m1, self.m2, self.m3 = float(m1), float(m2), float(m3)
        self.gradient = gradient
        self.overflow = overflow

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return angular_margin(target, self.m1, self.m2, self.m3, self.gradient, self.overflow)

    def get_config(self):
        options = {"m1": self.m1, "m2": self.m2, "m3": self.m3, "gradient": self.gradient, "overflow": self.overflow}
        return {**super().get_config(), **options}
