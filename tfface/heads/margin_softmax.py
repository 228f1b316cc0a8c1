"""What the softmax heads on cosines share: scale s and a margin function ψ on the target."""

import tensorflow as tf

from tfface.heads.base import ClassificationHead


class MarginSoftmax(ClassificationHead):
    """Softmax over s·cos with ψ(t) in place of the target cosine t; a subclass gives ψ as `margin_target`.

        u(z) = s z          F(t, a) = softplus(a − s ψ(t))

    Args:
      num_classes: int, identities K.
      scale: float, s, positive.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: `scale` is not positive.
    """

    def __init__(self, num_classes, scale=64.0, **kwargs):
        super().__init__(num_classes, **kwargs)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale!r}.")
        self.scale = float(scale)

    def margin_target(self, target, context):
        """ψ, elementwise on target cosines [B]."""
        raise NotImplementedError

    def negative(self, cosines, context):
        return self.scale * cosines

    def loss(self, target, total, context):
        return tf.math.softplus(total - self.target_logit(target, context))

    def target_logit(self, target, context):
        return self.scale * self.margin_target(target, context)

    def plain_logit(self, cosines):
        return self.scale * cosines

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
