"""ArcFace: softmax with an additive angular margin."""

import math

import keras
import tensorflow as tf

from tfface.heads.margin_softmax import MarginSoftmax

# cos²θ this close to 1 leaves float32 no correct digit of sin θ, whose derivative is infinite at 1.
_MIN_SIN_SQUARED = 1e-7


@keras.saving.register_keras_serializable("tfface")
class ArcFace(MarginSoftmax):
    """Additive angular margin: ψ(t) = cos(arccos t + m).

    Public implementations differ in two places, which are options here:

    * `gradient`: "exact" differentiates ψ; "straight_through" adds the margin without a gradient of its own
      (∂ψ/∂t = 1), as arcface_torch does since December 2022, milder at small angles and harder at large ones.
    * `overflow`, beyond θ + m = π, where cos(θ + m) would rise again: "fallback" continues by t − m·sin m;
      "none" leaves the cosine as it is.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      margin: float, m, radians in [0, π/2].
      gradient: "exact" or "straight_through".
      overflow: "fallback" or "none".
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: an option or the margin is out of range.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 3.
    """

    def __init__(self, num_classes, scale=64.0, margin=0.5, gradient="exact", overflow="fallback", **kwargs):
        super().__init__(num_classes, scale, **kwargs)
        if not 0 <= margin <= math.pi / 2:
            raise ValueError(f"margin must be an angle in [0, π/2] radians, got {margin!r}.")
        if gradient not in ("exact", "straight_through"):
            raise ValueError(f"gradient must be 'exact' or 'straight_through', got {gradient!r}.")
        if overflow not in ("fallback", "none"):
            raise ValueError(f"overflow must be 'fallback' or 'none', got {overflow!r}.")
        self.margin = float(margin)
        self.gradient = gradient
        self.overflow = overflow

    def margin_target(self, target):
        with_margin = self._with_margin(target)
        if self.gradient == "straight_through":
            return target + tf.stop_gradient(with_margin - target)
        return with_margin

    def _with_margin(self, target):
        target = tf.clip_by_value(target, -1.0, 1.0)
        sine = tf.sqrt(tf.maximum(1.0 - tf.square(target), _MIN_SIN_SQUARED))
        with_margin = target * math.cos(self.margin) - sine * math.sin(self.margin)
        if self.overflow == "none":
            return with_margin
        # θ + m > π  ⇔  cos θ < cos(π − m)
        return tf.where(target > -math.cos(self.margin), with_margin, target - self.margin * math.sin(self.margin))

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "gradient": self.gradient,
            "overflow": self.overflow,
        }
