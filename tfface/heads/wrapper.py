"""Base class of the layers that go around a head and are heads themselves."""

import keras
import numpy as np
import tensorflow as tf

from tfface.heads.base import ClassificationHead


def _of_head(name):
    return property(lambda self: getattr(self.head, name), doc=f"`{name}` of the wrapped head.")


class HeadWrapper(keras.layers.Layer):
    """A head around another head: everything that a subclass does not change is that of the inner one.

    Args:
      head: `ClassificationHead`, or another `HeadWrapper`.
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: `head` is neither, or is wrapped in the same way already.
    """

    def __init__(self, head: "ClassificationHead | HeadWrapper", **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        name = type(self).__name__
        if not isinstance(head, ClassificationHead | HeadWrapper):
            raise ValueError(f"{name} wraps a head of classes, such as ArcFace(num_classes), got {head!r}.")
        inner = head
        while isinstance(inner, HeadWrapper):
            if type(inner) is type(self):
                raise ValueError(f"{name} is around this head already: give all its arguments to one {name}.")
            inner = inner.head
        self.head: ClassificationHead | HeadWrapper = head
        self.supports_jit: bool = head.supports_jit

    head: "ClassificationHead | HeadWrapper"
    supports_jit: bool

    num_classes = _of_head("num_classes")
    sub_centers = _of_head("sub_centers")
    partition = _of_head("partition")
    class_weights = _of_head("class_weights")
    class_rows = _of_head("class_rows")
    sampler = _of_head("sampler")
    samplers = _of_head("samplers")
    lowest_label = _of_head("lowest_label")
    whole_batch = _of_head("whole_batch")
    compares_examples = _of_head("compares_examples")

    def build(self, embeddings_shape, labels_shape=None):
        if not self.head.built:
            self.head.build(embeddings_shape)

    def call(
        self,
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        training: bool | None = None,
        reach: str = "both",
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the per-example losses [B], as `ClassificationHead.call`."""
        return self.head.call(embeddings, labels, training=training, reach=reach, sample_weight=sample_weight)

    def check_labels(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns labels [B], as `ClassificationHead.check_labels`."""
        return self.head.check_labels(labels)

    def logits(self, embeddings: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Computes logits [B, K], as `ClassificationHead.logits`."""
        return self.head.logits(embeddings, labels)

    def get_class_weights(self) -> np.ndarray:
        """Returns the class weights, as `ClassificationHead.get_class_weights`."""
        return self.head.get_class_weights()

    def set_class_weights(self, class_weights: np.ndarray) -> None:
        """Replaces the class weights, as `ClassificationHead.set_class_weights`."""
        self.head.set_class_weights(class_weights)

    def compute_output_shape(self, embeddings_shape, labels_shape=None):
        return (embeddings_shape[0],)

    def get_config(self):
        return {**super().get_config(), "head": keras.saving.serialize_keras_object(self.head)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "head": keras.saving.deserialize_keras_object(config["head"])})
