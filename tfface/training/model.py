"""FaceModel: an encoder and a head as one Keras model."""

import keras
import tensorflow as tf

from tfface.classifier import collectives
from tfface.classifier.partitioned_optimizer import make_partition_aware
from tfface.classifier.weights import PartitionedVariable


@keras.saving.register_keras_serializable("tfface")
class FaceModel(keras.Model):
    """An encoder trained through a classification head; as a function it is the encoder alone.

    `fit` and `evaluate` take batches `{"image": ..., "label": ...}` as `tfface.data` makes them, or pairs
    (images, labels). `compile` needs an optimizer only: the loss is the batch mean of the head's per-example losses
    plus the layers' regularisation. Under a `tf.distribute` strategy the mean is that of the batches of all replicas,
    whatever their sizes.

    Args:
      encoder: keras.Model, images [B, height, width, 3] -> embeddings [B, d].
      head: Keras layer, (embeddings [B, d], integer labels [B], training) -> losses [B].
      **kwargs: of `keras.Model`.

    Raises:
      ValueError: the encoder does not return one vector an image.
    """

    def __init__(self, encoder, head, **kwargs):
        super().__init__(**kwargs)
        if len(encoder.output_shape) != 2:
            raise ValueError(f"encoder must return embeddings [B, d], its output has shape {encoder.output_shape}.")
        self.encoder = encoder
        self.head = head
        # The optimizer takes the list of weights when it is built, before the head would see its first batch.
        if not head.built:
            head.build(encoder.output_shape)
        # On CPU, XLA makes a convolutional network several times slower; jit_compile=True still forces it.
        self.supports_jit = bool(tf.config.list_physical_devices("GPU")) and collectives.replica_count() == 1

    def call(self, inputs, training=None):
        """Returns the embeddings [B, d] of a batch of images, or of the "image" of a batch with labels."""
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.encoder(images, training=training)

    def compile(self, optimizer="rmsprop", **kwargs):
        """Configures the model for training, as that of `keras.Model`; `loss` is not needed.

        Raises:
          ValueError: the optimizer was made under another strategy than the model, or cannot update partitioned
            class weights.
        """
        optimizer = keras.optimizers.get(optimizer)
        strategy = getattr(optimizer, "_distribution_strategy", self.distribute_strategy)
        if optimizer is not None and strategy is not self.distribute_strategy:
            raise ValueError(
                f"the optimizer was made under {type(strategy).__name__}, the model under "
                f"{type(self.distribute_strategy).__name__}: make both in the scope of one strategy."
            )
        if any(isinstance(variable, PartitionedVariable) for variable in self.trainable_variables):
            optimizer = make_partition_aware(optimizer)
        super().compile(optimizer=optimizer, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        with tf.GradientTape() as tape:
            embeddings = self(x, training=True)
            losses = self._head_losses(x, y, embeddings, sample_weight, training=True)
            loss = self.optimizer.scale_loss(self._share(losses))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return self._logs(x, y, embeddings, losses, sample_weight)

    def test_step(self, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        embeddings = self(x, training=False)
        losses = self._head_losses(x, y, embeddings, sample_weight, training=False)
        return self._logs(x, y, embeddings, losses, sample_weight)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of this replica's batch: the mean over its examples, and regularisation."""
        return self._mean(self._head_losses(x, y, y_pred, sample_weight, training))

    def _head_losses(self, x, y, embeddings, sample_weight, training):
        labels = x["label"] if isinstance(x, dict) else y
        if labels is None:
            raise ValueError("FaceModel needs labels: pass batches {'image', 'label'} or (images, labels).")
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.head(embeddings, labels, training=training, **options)

    def _mean(self, losses):
        return tf.add_n([tf.reduce_mean(losses), *self.losses])

    def _share(self, losses):
        """This replica's part of the loss of all replicas, which is the sum of their parts."""
        replicas = collectives.replica_count()
        if replicas == 1:
            return self._mean(losses)
        if losses.shape[0] is not None:
            # tf.distribute gives a static size only where it is that of every replica.
            size = losses.shape[0] * replicas
        else:
            size = tf.cast(collectives.sum_over_replicas(tf.shape(losses)[0]), losses.dtype)
        return tf.add_n([tf.reduce_sum(losses) / size, *(term / replicas for term in self.losses)])

    def _logs(self, x, y, embeddings, losses, sample_weight):
        self._loss_tracker.update_state(self._mean(losses), sample_weight=tf.shape(losses)[0])
        logs = self.compute_metrics(x, y, embeddings, sample_weight=sample_weight)
        # Between workers Keras joins logs along an axis, which scalars lack.
        return {name: tf.reshape(value, [1]) for name, value in logs.items()} if collectives.is_multi_worker() else logs

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # The layers are built. Keras would average the images of the first batch over the replicas to build them again,
        # which fails where their numbers differ.
        if self.optimizer is not None:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "head": keras.saving.serialize_keras_object(self.head),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for part in ("encoder", "head"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        return cls(**config)
