"""A classification head and weighted losses as one head."""

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfface")
class HeadWithLosses(keras.layers.Layer):
    """Losses of a head plus Σ weight · loss, in a layer that can stand wherever a head can.

    Args:
      head: Keras layer, (embeddings [B, d], integer labels [B]) -> losses [B], with `class_weights` [K, d] where one
        of `terms` takes them.
      terms: list of pairs (weight: float, loss: a layer of `tfface.losses`).
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: a term needs inputs that a head does not have, such as the pairs of `ContrastiveLoss`, or needs one
        row of weights per class and the head has sub-centers.
    """

    def __init__(self, head: keras.layers.Layer, terms: Sequence[tuple[float, keras.layers.Layer]], **kwargs):
        super().__init__(autocast=False, **kwargs)
        for _, loss in terms:
            if not {*loss.takes} <= {"embeddings", "labels", "class_weights"}:
                raise ValueError(f"terms must take embeddings, labels or class_weights, got {loss!r}.")
            if "class_weights" in loss.takes and getattr(head, "sub_centers", 1) != 1:
                raise ValueError(f"{loss.name} needs one row of weights a class, got sub_centers={head.sub_centers}.")
        self.head = head
        self.weights_of_terms = [float(weight) for weight, _ in terms]
        self.terms = [loss for _, loss in terms]

    def build(self, embeddings_shape, labels_shape=None):
        for layer in (self.head, *self.terms):
            if not layer.built:
                layer.build(embeddings_shape)

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d].
          labels: integer [B].
          training: bool, reaches the head and the terms through Keras.

        Returns:
          float32 [B].
        """
        total = self.head(embeddings, labels)
        for weight, loss in zip(self.weights_of_terms, self.terms, strict=True):
            given = {"embeddings": embeddings, "labels": labels}
            if "class_weights" in loss.takes:
                given["class_weights"] = self.head.class_weights
            total += weight * loss(*(given[name] for name in loss.takes))
        return total

    def get_config(self):
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "terms": [
                [weight, keras.saving.serialize_keras_object(loss)]
                for weight, loss in zip(self.weights_of_terms, self.terms, strict=True)
            ],
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["head"] = keras.saving.deserialize_keras_object(config["head"])
        config["terms"] = [(weight, keras.saving.deserialize_keras_object(loss)) for weight, loss in config["terms"]]
        return cls(**config)
