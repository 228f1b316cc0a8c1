"""SphereFace: softmax with a multiplicative angular margin."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_option, check_range
from tfface.geometry import angle
from tfface.heads.margin_softmax import MarginSoftmax
from tfface.heads.margins import angular_margin


@keras.saving.register_keras_serializable("tfface")
class SphereFace(MarginSoftmax):
    """Multiplicative angular margin: ψ(t) = cos(m·arccos t), made monotone.

    Two forms are in use:

    * "arccos": any real m. Beyond m·θ = π the function continues as a straight line in t (ArcFace's comparison has
      m = 1.35, SphereFace-R m = 1.7).
    * "piecewise": the original ψ(θ) = (−1)^k cos(mθ) − 2k with k = ⌊mθ/π⌋. Its margin of 4 needs annealing: the target
      is (λ cos θ + ψ)/(1 + λ), where λ = max(annealing_min, annealing/(1 + 0.12·step)) falls with the training steps.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      margin: float, m, in [1, 10].
      form: "arccos" or "piecewise".
      annealing: float, first λ; 1000 in SphereFace's code. 0: no annealing.
      annealing_min: float, last λ; 5 in SphereFace's code.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: an option or the margin is out of range.

    Reference:
      Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017, Eq. 7.
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        margin: float = 1.35,
        form: str = "arccos",
        annealing: float = 0.0,
        annealing_min: float = 0.0,
        **kwargs,
    ):
        super().__init__(num_classes, scale, **kwargs)
        check_range("margin", margin, 1, 10)
        check_option("form", form, ("arccos", "piecewise"))
        check_range("annealing_min", annealing_min, 0, math.inf)
        check_range("annealing", annealing, annealing_min, math.inf)
        self.margin = float(margin)
        self.form = form
        self.annealing = float(annealing)
        self.annealing_min = float(annealing_min)

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape, labels_shape)
        if self.annealing:
            self.step = self.add_weight(
                name="step",
                shape=(),
                initializer="zeros",
                dtype="int32",
                trainable=False,
                aggregation="only_first_replica",
            )

    def context(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        if not self.annealing:
            return {}
        step = tf.cast(tf.convert_to_tensor(self.step), tf.float32)
        strength = tf.maximum(self.annealing / (1.0 + 0.12 * step), self.annealing_min)
        if training:
            self.step.assign_add(1)
        return {"annealing": tf.broadcast_to(strength, tf.shape(labels))}

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        psi = angular_margin(target, m1=self.margin) if self.form == "arccos" else self._piecewise(target)
        if not self.annealing:
            return psi
        return (context["annealing"] * target + psi) / (1.0 + context["annealing"])

    def _piecewise(self, target):
        theta = self.margin * angle(target)
        # The last piece ends at θ = π; rounding must not begin another.
        k = tf.minimum(tf.floor(theta / math.pi), math.ceil(self.margin) - 1.0)
        sign = 1.0 - 2.0 * tf.math.floormod(k, 2.0)
        return sign * tf.cos(theta) - 2.0 * k

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "form": self.form,
            "annealing": self.annealing,
            "annealing_min": self.annealing_min,
        }
