"""BroadFace: embeddings of past steps also train the class weights, for any head."""

import typing

import keras
import tensorflow as tf

from tfface.distribute import collectives
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.geometry import inverse_norms
from tfface.heads.base import ClassificationHead, as_embeddings
from tfface.heads.wrapper import HeadWrapper


@keras.saving.register_keras_serializable("tfface")
class BroadFace(HeadWrapper):
    """A head whose class weights learn from the batch and a queue of past embeddings, the encoder from the batch alone.

    The losses are those of the batch (Eq. 8). The gradient of their mean reaches the encoder; the head's own variables
    get the gradient of the mean over batch and queue (Eq. 9). A training step (`training=True`) then puts its
    embeddings into the queue, with the class weights that they were computed with, and the oldest leave it: before the
    update of the weights, where the paper's text has it after. Each replica has a queue of its own examples.

    Args:
      head: `ClassificationHead`, or `HeadWithLosses`, whose terms on class weights then see the queue too.
      queue_size: int, past examples of each replica; 0: the head as it is.
      compensate: bool, moves past embeddings along with the weights of their classes (Eq. 7).
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: `head` is not a head of classes or has a queue already, or `queue_size` is negative. When built for
        several replicas: the losses of the head compare the examples of a batch (AdaFace, DSoftmaxB), and those of a
        queue lie on all replicas.

    Reference:
      Kim et al., "BroadFace: Looking at Tens of Thousands of People at Once for Face Recognition", 2020, Eqs. 7-9.
    """

    def __init__(
        self, head: ClassificationHead | HeadWrapper, queue_size: int = 8192, compensate: bool = True, **kwargs
    ):
        # The head comes before the queue, so that its variables have the same names in checkpoints as without a queue.
        super().__init__(head, **kwargs)
        if int(queue_size) != queue_size or queue_size < 0:
            raise ValueError(f"queue_size must be an integer of at least 0, got {queue_size!r}.")
        self.queue_size = int(queue_size)
        self.compensate = bool(compensate)
        self.queue = EmbeddingQueue(self.queue_size, self.compensate, name="queue") if queue_size else None

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape)
        if self.queue is not None and self.compares_examples and collectives.replica_count() > 1:
            raise ValueError(
                f"BroadFace around {self.head!r} needs one replica: its losses compare the examples of the queue, "
                f"which lie on {collectives.replica_count()}. queue_size=0, or another head, works on several."
            )
        if self.queue is not None and not self.queue.built:
            self.queue.build(embeddings_shape)

    def call(
        self,
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        training: bool | None = None,
        reach: str = "both",
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the per-example losses of the batch.

        Args:
          embeddings: float [B, d].
          labels: integer [B].
          training: bool; only True uses and changes the queue.
          reach: where gradients go, as in `ClassificationHead.call`.
          sample_weight: float [B], factors of the losses of the batch; those of the queue are ones.

        Returns:
          float32 [B].
        """
        if not (training and self.queue):
            return super().call(embeddings, labels, training, reach, sample_weight)
        embeddings, labels = as_embeddings(embeddings), self.check_labels(labels)
        past = self.queue.read()
        own, current = self._class_rows(tf.stop_gradient(embeddings), labels, past.rows)
        past_embeddings, past_labels = self._past_batch(past, current, tf.stop_gradient(embeddings), labels)

        size = tf.shape(labels)[0]
        queued = tf.reduce_sum(tf.cast(past.valid, tf.float32))
        all_size, all_queued = tf.unstack(collectives.sum_over_replicas(tf.stack([tf.cast(size, tf.float32), queued])))
        share = all_size / (all_size + all_queued)
        losses = self.head.call(
            _with_gradient_of(embeddings, embeddings / share),
            labels,
            training=True,
            reach=reach,
            sample_weight=sample_weight,
        )
        # training=None samples classes as a training step does, and leaves running statistics to the batch.
        past_losses = self.head.call(
            past_embeddings, past_labels, training=None, reach="weights", sample_weight=tf.cast(past.valid, tf.float32)
        )
        self.queue.push(tf.stop_gradient(embeddings), *own)
        if reach == "embeddings":
            past_losses = tf.stop_gradient(past_losses)
        return _with_gradient_of(losses, share * (losses + tf.reduce_sum(past_losses) / tf.cast(size, tf.float32)))

    def _class_rows(self, embeddings, labels, past_rows):
        """Returns the rows of the batch as (numbers [B], weights [B, d]), and those of the queue [Q, d].

        With sub-centers, each example uses its nearest one. Weights are None where nothing is compensated.
        """
        class_rows = self.head.class_rows
        rows = class_rows.numbers(labels)
        if not self.compensate:
            return (rows[:, 0], None), None
        numbers = tf.concat([tf.reshape(tf.cast(rows, tf.int64), [-1]), past_rows], axis=0)
        # Faces of no class have negative numbers; they get any row and are not compensated.
        weights = class_rows.fetch(tf.maximum(numbers, 0))
        count = tf.size(rows)
        candidates = tf.reshape(weights[:count], [-1, self.sub_centers, embeddings.shape[1]])
        nearest = tf.argmax(tf.einsum("bd,bsd->bs", embeddings, candidates * inverse_norms(candidates)), axis=1)
        own = tf.gather(rows, nearest, batch_dims=1), tf.gather(candidates, nearest, batch_dims=1)
        return own, weights[count:]

    def _past_batch(self, past, current, embeddings, labels):
        """Returns compensated embeddings [Q, d] and labels [Q]; void places repeat the batch, with weight 0."""
        moved = past.embeddings
        if self.compensate:
            ratio = tf.norm(moved, axis=1, keepdims=True) * inverse_norms(past.class_weights)
            moved += tf.where(past.rows[:, None] >= 0, ratio * (current - past.class_weights), 0.0)
        void = tf.range(self.queue_size) % tf.shape(labels)[0]
        past_labels = tf.cast(self.head.class_rows.classes_of(past.rows), labels.dtype)
        return (
            tf.where(past.valid[:, None], moved, tf.gather(embeddings, void)),
            tf.where(past.valid, past_labels, tf.gather(labels, void)),
        )

    def get_config(self):
        return {**super().get_config(), "queue_size": self.queue_size, "compensate": self.compensate}


class Past(typing.NamedTuple):
    """The content of a queue, in no particular order."""

    embeddings: tf.Tensor  # [Q, d]
    rows: tf.Tensor  # int64 [Q], row numbers of the class weights
    class_weights: tf.Tensor | None  # [Q, d], those rows at the time of the embeddings
    valid: tf.Tensor  # bool [Q], whether the place holds an embedding


class EmbeddingQueue(keras.layers.Layer):
    """The last `size` examples of each replica, in a ring buffer of its own.

    Args:
      size: int.
      with_class_weights: bool, keep rows of class weights too.
      **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, size: int, with_class_weights: bool, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.size = size
        self.with_class_weights = with_class_weights

    def build(self, embeddings_shape):
        matrix = (self.size, embeddings_shape[-1])
        self.pushed = self._add("pushed", (1,), "int64")
        self.rows = self._add("rows", matrix[:1], "int64")
        self.embeddings = self._add("embeddings", matrix, "float32")
        # Not named like the head's own class weights, because checkpoints are searched for that name.
        self.class_weights = self._add("past_class_weights", matrix, "float32") if self.with_class_weights else None

    def _add(self, name, shape, dtype):
        options = {"initializer": "zeros", "dtype": dtype, "trainable": False, "autocast": False, "name": name}
        if not tf.distribute.has_strategy():
            return self.add_weight(shape=shape, **options)
        # Partitioned like rows of classes, with one "class" per replica.
        replicas = collectives.replica_count()
        initializer = keras.initializers.get(options.pop("initializer"))
        return PartitionedVariable(initializer, (replicas * shape[0], *shape[1:]), replicas, **options)

    def read(self) -> Past:
        """Returns `Past` of this replica."""
        rings = (self.embeddings, self.rows, self.class_weights)
        embeddings, rows, class_weights = (None if ring is None else tf.convert_to_tensor(ring.value) for ring in rings)
        valid = tf.range(self.size, dtype=tf.int64) < tf.convert_to_tensor(self.pushed.value)
        return Past(embeddings, rows, class_weights, valid)

    def push(self, embeddings: tf.Tensor, rows: tf.Tensor, class_weights: tf.Tensor | None = None):
        """Adds examples in their order; each replaces the oldest."""
        count = tf.cast(tf.shape(rows)[0], tf.int64)
        last = tf.cast(tf.range(tf.shape(rows)[0])[-self.size :], tf.int64)
        places = (self.pushed.value + last)[:, None] % self.size
        rings = {"embeddings": embeddings, "rows": tf.cast(rows, tf.int64), "class_weights": class_weights}
        for name, values in rings.items():
            if values is not None:
                getattr(self, name).value.scatter_nd_update(places, tf.gather(values, last))
        self.pushed.value.assign_add([count])


def _with_gradient_of(value, other):
    """Returns `value` with the gradient of `other`."""
    return tf.stop_gradient(value) + (other - tf.stop_gradient(other))
