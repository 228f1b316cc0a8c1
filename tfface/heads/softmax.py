"""Softmax: the plain linear classifier."""

import keras
import tensorflow as tf

from tfface.heads.base import ClassificationHead


@keras.saving.register_keras_serializable("tfface")
class Softmax(ClassificationHead):
    """Softmax cross-entropy on raw dot products: z = w·x + b, F(t, a) = softplus(a − t).

    Args:
      num_classes: int, identities K.
      use_bias: bool, learns b.
      **kwargs: of `ClassificationHead`; the default initializer of the class weights is Glorot's.

    Reference:
      Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, Eq. 1.
    """

    normalize = False

    def __init__(self, num_classes: int, use_bias: bool = True, **kwargs):
        kwargs.setdefault("class_weights_initializer", "glorot_uniform")
        super().__init__(num_classes, **kwargs)
        self.use_bias = use_bias

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape, labels_shape)
        if self.use_bias:
            self.class_bias = self.add_class_rows("bias", (self.num_classes,), "zeros")

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return cosines

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.math.softplus(total - target)

    def target_logit(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        return target

    def plain_logit(self, cosines: tf.Tensor) -> tf.Tensor:
        return cosines

    def get_config(self):
        return {**super().get_config(), "use_bias": self.use_bias}
