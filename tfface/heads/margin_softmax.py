"""Base class of the softmax heads on cosines: scale s and a margin function ψ on the target."""

import tensorflow as tf

from tfface.heads.base import ClassificationHead


class MarginSoftmax(ClassificationHead):
    """Softmax over s·cos with ψ(t) in place of the target cosine t; a subclass defines ψ as `margin_target`.

        u(z) = s z          F(t, a) = softplus(a − s ψ(t))

    Args:
      num_classes: int, identities K.
      scale: float, s, positive.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: `scale` is not positive.
    """

    def __init__(self, num_classes: int, scale: float = 64.0, **kwargs):
        super().__init__(num_classes, **kwargs)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale!r}.")
        self.scale = float(scale)

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        """ψ, elementwise on target cosines [B]."""
        raise NotImplementedError

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.scale * cosines

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.math.softplus(total - self.target_logit(target, context))

    def target_logit(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.scale * self.margin_target(target, context)

    def plain_logit(self, cosines: tf.Tensor) -> tf.Tensor:
        return self.scale * cosines

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
