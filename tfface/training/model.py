"""FaceModel: an encoder and a head as one Keras model."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfface")
class FaceModel(keras.Model):
    """An encoder trained through a classification head; as a function it is the encoder alone.

    `fit` and `evaluate` take batches `{"image": ..., "label": ...}` as `tfface.data` makes them, or pairs
    (images, labels). `compile` needs an optimizer only: the loss is the batch mean of the head's per-example losses
    plus the layers' regularisation.

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
        self.supports_jit = bool(tf.config.list_physical_devices("GPU"))

    def call(self, inputs, training=None):
        """Returns the embeddings [B, d] of a batch of images, or of the "image" of a batch with labels."""
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.encoder(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        labels = x["label"] if isinstance(x, dict) else y
        if labels is None:
            raise ValueError("FaceModel needs labels: pass batches {'image', 'label'} or (images, labels).")
        losses = self.head(y_pred, labels, training=training)
        if sample_weight is not None:
            losses = losses * tf.cast(sample_weight, losses.dtype)
        return tf.add_n([tf.reduce_mean(losses), *self.losses])

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
