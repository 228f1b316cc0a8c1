"""D-Softmax-B: the inter-class objective of a few examples of each batch."""

import keras
import tensorflow as tf

from tfface.distribute import collectives
from tfface.heads.dsoftmax import DSoftmax


@keras.saving.register_keras_serializable("tfface")
class DSoftmaxB(DSoftmax):
    """D-Softmax whose inter-class term is computed for `rows` random examples of a batch; the intra-class term for all.

    The class of an example is not among its negatives; the sum that the paper prints has it.

    Args:
      num_classes: int, identities K.
      scale: float, of `DSoftmax`.
      termination: float, of `DSoftmax`.
      rows: int, examples of the batch of all replicas with an inter-class term, at least 1; all in a smaller batch, and
        outside of training. `FaceModel` refuses micro-batches, which would have `rows` each.
      **kwargs: of `DSoftmax`.

    Raises:
      ValueError: `rows` is smaller than 1, or what `DSoftmax` refuses. When built for several replicas: the head has a
        sampler and is not partitioned, so that each replica would draw for other rows.

    Reference:
      He et al., "Softmax Dissection", 2020, Eq. 12.
    """

    whole_batch = True
    compares_examples = True

    def __init__(self, num_classes: int, scale: float = 64.0, termination: float = 0.9, rows: int = 4, **kwargs):
        super().__init__(num_classes, scale, termination, **kwargs)
        if int(rows) != rows or rows < 1:
            raise ValueError(f"rows must be a positive integer, got {rows!r}.")
        self.rows = int(rows)
        self.rows_seed = keras.random.SeedGenerator()

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape)
        if self.sampler is not None and collectives.replica_count() > 1 and not self.partition:
            raise ValueError(
                f"{self!r} with {type(self.sampler).__name__} needs partition='replicas' on "
                f"{collectives.replica_count()} replicas, or no sampler."
            )

    def losses(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None, reach: str) -> tf.Tensor:
        if training is False:
            return super().losses(embeddings, labels, training, reach)
        places = self._places(labels)
        order = _order(places)
        first = order[: self.rows]
        full = super().losses(tf.gather(embeddings, first), tf.gather(labels, first), training, reach)
        intra = self.intra(self.target_cosines(embeddings, labels, reach))
        # At most `rows` of the examples here are drawn, often fewer: of a static number, the rest lose the term.
        rank = tf.minimum(_order(order), tf.size(first, tf.int64) - 1)
        return tf.where(places < self.rows, tf.gather(full, rank), intra)

    def _places(self, labels):
        """Returns the random places [B] of these examples in the batch of all replicas."""
        own, size = tf.identity, tf.shape(labels)[0]
        if self.in_part:
            gathered = collectives.gather_integers(labels)
            own, size = gathered.own, tf.size(gathered.values)
        # The order of a permutation is its inverse.
        return own(_order(_order(tf.random.stateless_uniform([size], self.rows_seed.next()))))

    def get_config(self):
        return {**super().get_config(), "rows": self.rows}


def _order(values):
    """Returns the indices [B] that sort values [B]; int64, because TensorFlow computes with int32 on the host."""
    return tf.cast(tf.argsort(values, stable=True), tf.int64)
