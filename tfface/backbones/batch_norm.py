"""Batch normalisation with TensorFlow's fused kernel."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfface")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that trains on images with TensorFlow's fused kernel.

    Keras 3 computes moments and normalisation as separate operations, each of which passes over the feature map; the
    fused kernel makes a training step of MobileFaceNet on a CPU about 1.3 times as fast. Synchronised, masked, flat and
    float64 inputs go Keras' way; the numbers are the same.
    """

    def call(self, inputs, training=None, mask=None):
        fused = training and self.trainable and len(inputs.shape) == 4 and self.scale and self.center
        if not fused or self.synchronized or mask is not None or inputs.dtype == tf.float64:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel's variance is the unbiased one, Keras' is not.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), variance.dtype)
        variance *= (count - 1.0) / count
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs
