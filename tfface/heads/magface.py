"""MagFace: an angular margin that grows with the norm of the embedding."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_range
from tfface.geometry import norms
from tfface.heads.margin_softmax import MarginSoftmax
from tfface.heads.margins import angular_margin


@keras.saving.register_keras_serializable("tfface")
class MagFace(MarginSoftmax):
    """ArcFace with the margin m(n) linear in the norm n = ‖x‖, which becomes a measure of quality, plus λ·g(n).

    g(n) = 1/n + n/upper_norm² draws norms upwards. Beyond θ + m = π the target is cos θ.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      lower_margin: float in [0, π/2], radians, margin at the lower norm.
      upper_margin: float in [0, π/2], radians, margin at the upper norm.
      lower_norm: float; smaller norms are clipped to it.
      upper_norm: float; larger norms are clipped to it.
      norm_weight: float, λ; 20, or 35 for large training sets in its authors' code.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: a margin or norm is out of range.

    Reference:
      Meng et al., "MagFace: A Universal Representation for Face Recognition and Quality Assessment", 2021, Eq. 4.
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        lower_margin: float = 0.45,
        upper_margin: float = 0.8,
        lower_norm: float = 10.0,
        upper_norm: float = 110.0,
        norm_weight: float = 20.0,
        **kwargs,
    ):
        super().__init__(num_classes, scale, **kwargs)
        check_range("lower_margin", lower_margin, 0, math.pi / 2, "radians")
        check_range("upper_margin", upper_margin, lower_margin, math.pi / 2, "radians")
        check_range("lower_norm", lower_norm, 1e-6, upper_norm)
        check_range("norm_weight", norm_weight, 0, math.inf)
        self.lower_margin, self.upper_margin = float(lower_margin), float(upper_margin)
        self.lower_norm, self.upper_norm = float(lower_norm), float(upper_norm)
        self.norm_weight = float(norm_weight)

    def context(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        norm = tf.clip_by_value(norms(embeddings)[:, 0], self.lower_norm, self.upper_norm)
        slope = (self.upper_margin - self.lower_margin) / max(self.upper_norm - self.lower_norm, 1e-6)
        return {"norm": norm, "margin": self.lower_margin + slope * (norm - self.lower_norm)}

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        margin = context["margin"]
        with_margin = angular_margin(target, m2=margin, overflow="none")
        return tf.where(target > -tf.cos(margin), with_margin, target)

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        norm = context["norm"]
        return super().loss(target, total, context) + self.norm_weight * (norm / self.upper_norm**2 + 1.0 / norm)

    def get_config(self):
        return {
            **super().get_config(),
            "lower_margin": self.lower_margin,
            "upper_margin": self.upper_margin,
            "lower_norm": self.lower_norm,
            "upper_norm": self.upper_norm,
            "norm_weight": self.norm_weight,
        }
