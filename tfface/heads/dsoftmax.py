"""D-Softmax: intra-class and inter-class objectives, dissected."""

import keras
import tensorflow as tf

from tfface.checks import check_option, check_range
from tfface.heads.margin_softmax import MarginSoftmax
from tfface.heads.margins import angular_margin

INTERS = ("own", "softmax", "arcface", "none")


@keras.saving.register_keras_serializable("tfface")
class DSoftmax(MarginSoftmax):
    """Dissected softmax: independent terms attract the target up to cos θ = d and repel the negatives.

        F(t, a) = softplus(s(d − t)) + softplus(a)          u(z) = s z

    With `inter="softmax"` or `"arcface"` the second term is that loss with its target blocked from the gradient:
    softplus(a − s·ψ(t)). With `inter="none"` there is none.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      termination: float d in [−1, 2], where the intra-class objective ends; ε = e^{s d} in the paper's Eq. 6.
      inter: "own", "softmax", "arcface" or "none".
      margin: float, m of `inter="arcface"`, radians in [0, π/2].
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: an option is out of range.

    Reference:
      He et al., "Softmax Dissection: Towards Understanding Intra- and Inter-class Objective for Embedding Learning",
      2020, Eqs. 6, 9, 10 and Table 1.
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        termination: float = 0.9,
        inter: str = "own",
        margin: float = 0.5,
        **kwargs,
    ):
        super().__init__(num_classes, scale, **kwargs)
        check_range("termination", termination, -1, 2)
        check_option("inter", inter, INTERS)
        check_range("margin", margin, 0, 1.5707963268, "radians")
        self.termination = float(termination)
        self.inter = inter
        self.margin = float(margin)

    def intra(self, target: tf.Tensor) -> tf.Tensor:
        """Computes the intra-class losses [B] of target cosines [B], Eq. 6."""
        return tf.math.softplus(self.scale * (self.termination - target))

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        if self.inter == "none":
            return self.intra(target)
        return self.intra(target) + tf.math.softplus(total - self._blocked(target))

    def _blocked(self, target):
        if self.inter == "own":
            return 0.0
        margin = 0.0 if self.inter == "softmax" else self.margin
        return tf.stop_gradient(self.scale * angular_margin(target, m2=margin))

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return target

    def get_config(self):
        return {
            **super().get_config(),
            "termination": self.termination,
            "inter": self.inter,
            "margin": self.margin,
        }
