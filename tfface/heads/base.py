"""The layer that every classification head is."""

import keras
import tensorflow as tf

from tfface.classifier.engine import classification_loss, inverse_norms, unit_rows


class ClassificationHead(keras.layers.Layer):
    """Class weights and a loss on cosines; a subclass gives the two functions `negative` and `loss`.

    `head(embeddings, labels)` returns the per-example losses [B], float32 whatever the dtype policy of the network.

    Args:
      num_classes: int, identities K, at least 2.
      class_weights_initializer: Keras initializer of the class weights [K, d].
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: `num_classes` is smaller than 2.
    """

    def __init__(self, num_classes, class_weights_initializer=None, **kwargs):
        # Cosines and sums over many classes need float32, so inputs are not cast to the policy's compute dtype.
        super().__init__(autocast=False, **kwargs)
        if int(num_classes) != num_classes or num_classes < 2:
            raise ValueError(f"num_classes must be an integer of at least 2, got {num_classes!r}.")
        self.num_classes = int(num_classes)
        if class_weights_initializer is None:
            class_weights_initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.class_weights_initializer = keras.initializers.get(class_weights_initializer)

    def negative(self, cosines):
        """Exponent u of a negative's cost φ(z) = e^{u(z)}, elementwise on [B, K]."""
        raise NotImplementedError

    def loss(self, target, log_negatives):
        """F: losses [B] from target cosines [B] and log Σ φ over the negatives [B]."""
        raise NotImplementedError

    def target_logit(self, target):
        """Logit [B] that stands for the target class in `logits`, from target cosines [B]."""
        raise NotImplementedError

    def build(self, embeddings_shape, labels_shape=None):
        self.class_weights = self.add_weight(
            name="class_weights",
            shape=(self.num_classes, embeddings_shape[-1]),
            initializer=self.class_weights_initializer,
            dtype="float32",
            autocast=False,
        )

    def call(self, embeddings, labels):
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d], any norm.
          labels: integer [B], each in [0, num_classes).

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank, or labels that are not integers.
          tf.errors.InvalidArgumentError: a label is out of range.
        """
        return classification_loss(
            _embeddings(embeddings), tf.convert_to_tensor(self.class_weights), labels, self.negative, self.loss
        )

    def logits(self, embeddings, labels=None):
        """Computes logits for a cross-entropy of the caller's; gradients are those of automatic differentiation.

        Args:
          embeddings: float [B, d].
          labels: integer [B]; the margin is applied to these classes. None: logits without a margin.

        Returns:
          float32 [B, K].
        """
        embeddings = _embeddings(embeddings)
        if not self.built:
            self.build(embeddings.shape)
        weights = tf.convert_to_tensor(self.class_weights)
        cosines = tf.matmul(unit_rows(embeddings)[0], weights * inverse_norms(weights), transpose_b=True)
        logits = self.negative(cosines)
        if labels is None:
            return logits
        labels = tf.convert_to_tensor(labels)
        is_target = tf.one_hot(labels, self.num_classes, on_value=True, off_value=False, dtype=tf.bool)
        target = self.target_logit(tf.gather(cosines, labels, batch_dims=1))
        return tf.where(is_target, target[:, None], logits)

    def get_class_weights(self):
        """Returns the class weights as NumPy float32 [K, d]."""
        return self.class_weights.numpy()

    def set_class_weights(self, class_weights):
        """Replaces the class weights by an array [K, d].

        Raises:
          ValueError: the shape differs.
        """
        if tuple(class_weights.shape) != tuple(self.class_weights.shape):
            raise ValueError(
                f"class_weights must have shape {tuple(self.class_weights.shape)}, got {tuple(class_weights.shape)}."
            )
        self.class_weights.assign(class_weights)

    def compute_output_shape(self, embeddings_shape, labels_shape=None):
        return (embeddings_shape[0],)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "class_weights_initializer": keras.initializers.serialize(self.class_weights_initializer),
        }


def _embeddings(embeddings):
    embeddings = tf.convert_to_tensor(embeddings)
    if embeddings.shape.rank != 2:
        raise ValueError(f"embeddings must have shape [B, d], got {embeddings.shape}.")
    return tf.cast(embeddings, tf.float32)
