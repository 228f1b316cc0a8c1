"""NormSoftmax: softmax on cosines without a margin."""

import keras
import tensorflow as tf

from tfface.heads.margin_softmax import MarginSoftmax


@keras.saving.register_keras_serializable("tfface")
class NormSoftmax(MarginSoftmax):
    """Normalised softmax (NormFace): ψ(t) = t.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      **kwargs: of `ClassificationHead`.

    Reference:
      Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", 2017.
    """

    def margin_target(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return target
