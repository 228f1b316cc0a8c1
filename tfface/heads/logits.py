"""Logits of a head as a layer of a functional model."""

import keras


@keras.saving.register_keras_serializable("tfface")
class HeadLogits(keras.layers.Layer):
    """The layer that `head.logits` makes from the symbolic tensors of a functional model.

    Args:
      head: `ClassificationHead`.
      **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, head: keras.layers.Layer, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.head = head

    def build(self, embeddings_shape, labels_shape=None):
        if not self.head.built:
            self.head.build(embeddings_shape)

    def call(self, embeddings, labels=None):
        return self.head.logits(embeddings, labels)

    def compute_output_shape(self, embeddings_shape, labels_shape=None):
        return (embeddings_shape[0], self.head.num_classes)

    def get_config(self):
        return {**super().get_config(), "head": keras.saving.serialize_keras_object(self.head)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "head": keras.saving.deserialize_keras_object(config["head"])})
