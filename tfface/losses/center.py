"""Center loss: embeddings stay near a running centre of their class."""

import keras
import tensorflow as tf

from tfface.checks import check_range
from tfface.classifier.labels import check_labels
from tfface.distribute import collectives
from tfface.losses.base import EmbeddingLoss, as_matrix


@keras.saving.register_keras_serializable("tfface")
class CenterLoss(EmbeddingLoss):
    """Half the squared distance to the centre of the class: ½‖x_i − c_{y_i}‖².

    Centres are not trainable weights. With `training=True`, each call moves the centres of its batch after the loss:
    c_j ← c_j − α · Σ_{y_i=j} (c_j − x_i) / (1 + n_j), n_j the examples of class j in the batch. `fit` passes
    `training`; a custom loop must. Under a tf.distribute strategy the batch is that of all replicas.

    Args:
      num_classes: int, identities K.
      center_lr: float in [0, 1], α.
      centers_initializer: Keras initializer of the centres [K, d].
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: an argument is out of range.

    Reference:
      Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", 2016, Eqs. 2-4.
    """

    def __init__(self, num_classes: int, center_lr: float = 0.5, centers_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        if int(num_classes) != num_classes or num_classes < 1:
            raise ValueError(f"num_classes must be an integer of at least 1, got {num_classes!r}.")
        check_range("center_lr", center_lr, 0, 1)
        self.num_classes = int(num_classes)
        self.center_lr = float(center_lr)
        self.centers_initializer = keras.initializers.get(centers_initializer)

    def build(self, embeddings_shape, labels_shape=None):
        self.centers = self.add_weight(
            name="centers",
            shape=(self.num_classes, embeddings_shape[-1]),
            initializer=self.centers_initializer,
            dtype="float32",
            trainable=False,
            autocast=False,
            # Every replica knows the moves of the whole batch.
            aggregation="mean",
        )

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d].
          labels: integer [B], each in [0, num_classes).
          training: bool, whether the centres move.

        Returns:
          float32 [B]. Gradients reach the embeddings only.

        Raises:
          ValueError: wrong rank, or labels that are not integers.
          tf.errors.InvalidArgumentError: a label is out of range.
        """
        embeddings = as_matrix(embeddings, "embeddings")
        labels = check_labels(labels, self.num_classes)
        offsets = embeddings - tf.stop_gradient(tf.gather(tf.convert_to_tensor(self.centers), labels))
        losses = 0.5 * tf.reduce_sum(tf.square(offsets), axis=1)
        if training:
            moved, offset = labels, tf.stop_gradient(offsets)
            if collectives.among_replicas():
                moved, offset = collectives.gather_integers(labels).values, collectives.all_gather(offset)
            counts = tf.reduce_sum(tf.cast(moved[:, None] == moved[None, :], tf.float32), axis=1)
            moves = self.center_lr * offset / (1.0 + counts[:, None])
            # Rows of one class add up. Only the batch's rows are touched, unlike with `assign`.
            self.centers.value.scatter_add(tf.IndexedSlices(moves, moved))
        return losses

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "center_lr": self.center_lr,
            "centers_initializer": keras.initializers.serialize(self.centers_initializer),
        }
