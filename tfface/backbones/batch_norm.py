"""Batch normalisation with TensorFlow's fused kernel, and over all replicas with two messages per layer."""

import keras
import tensorflow as tf

from tfface.distribute import collectives


@keras.saving.register_keras_serializable(package="tfface")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, faster for networks of face images; the numbers are the same.

    Keras 3 computes moments and normalisation as separate operations, each of which passes over the feature map; the
    fused kernel makes a training step of MobileFaceNet on a CPU about 1.3 times as fast.

    With `synchronized=True` replicas exchange their moments in one message and the sums of the gradient in another.
    Keras sends six messages, and its tracing time grows with the square of the number of layers. Variances are joined
    around the common mean: Keras' difference of two large numbers has few correct digits if the mean is large.

    Masked inputs, and float64 inputs without synchronisation, are left to Keras.
    """

    def call(self, inputs, training: bool | None = None, mask=None):
        if not training or not self.trainable or mask is not None or self.axis not in (-1, len(inputs.shape) - 1):
            return super().call(inputs, training=training, mask=mask)
        if self.synchronized and collectives.replica_count() > 1 and collectives.replica_index() is not None:
            outputs, mean, variance = self._synchronized(inputs)
        elif len(inputs.shape) == 4 and self.scale and self.center and inputs.dtype != tf.float64:
            outputs, mean, variance = self._fused(inputs)
        else:
            return super().call(inputs, training=training)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs

    def _fused(self, inputs):
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel returns the unbiased variance; Keras uses the biased one.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), variance.dtype)
        return outputs, mean, variance * ((count - 1.0) / count)

    def _synchronized(self, inputs):
        # Moments of half-precision features are computed in float32, as in Keras.
        x = tf.cast(inputs, self.variable_dtype)
        mean, variance, count = _moments_of_replicas(tf.stop_gradient(x))
        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(mean)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(mean)
        deviation = tf.math.rsqrt(variance + self.epsilon)

        @tf.custom_gradient
        def normalise(x, scale, offset):
            normal = (x - mean) * deviation

            def gradient(upstream):
                axes = list(range(len(x.shape) - 1))
                sums = tf.stack([tf.reduce_sum(upstream, axes), tf.reduce_sum(upstream * normal, axes)])
                of_offset, of_scale = tf.unstack(collectives.sum_over_replicas(sums) / count)
                of_x = scale * deviation * (upstream - of_offset - normal * of_scale)
                # The optimizer sums the weights' gradients over the replicas.
                return of_x, sums[1], sums[0]

            return normal * scale + offset, gradient

        return tf.cast(normalise(x, scale, offset), inputs.dtype), mean, variance


def _moments_of_replicas(x):
    """Returns mean [C], variance [C] and count [] over the values [..., C] of all replicas, in one message."""
    axes = list(range(len(x.shape) - 1))
    mean, variance = tf.nn.moments(x, axes)
    count = tf.cast(tf.size(x) / x.shape[-1], x.dtype)
    own = tf.concat([[count], mean, variance], axis=0)
    place = tf.one_hot(collectives.replica_index(), collectives.replica_count(), dtype=x.dtype)
    each = collectives.sum_over_replicas(place[:, None] * own)
    counts, means, variances = tf.split(each, [1, x.shape[-1], x.shape[-1]], axis=1)
    count = tf.reduce_sum(counts)
    mean = tf.reduce_sum(counts * means, axis=0) / count
    variance = tf.reduce_sum(counts * (variances + tf.square(means - mean)), axis=0) / count
    return mean, variance, count
