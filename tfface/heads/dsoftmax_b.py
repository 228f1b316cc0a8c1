"""D-Softmax-B: the inter-class objective of a few examples of each batch."""

import keras
import tensorflow as tf

from tfface.heads.dsoftmax import DSoftmax


@keras.saving.register_keras_serializable("tfface")
class DSoftmaxB(DSoftmax):
    """D-Softmax whose inter-class term is computed for `rows` random examples of a batch; the intra-class term for all.

    Args:
      num_classes: int, identities K.
      scale, termination: of `DSoftmax`.
      rows: int, examples with an inter-class term, at least 1; all in a smaller batch, and outside of training.
      **kwargs: of `DSoftmax`.

    Raises:
      ValueError: `rows` is smaller than 1, or what `DSoftmax` refuses.

    Reference:
      He et al., "Softmax Dissection", 2020, Eq. 12.
    """

    def __init__(self, num_classes: int, scale: float = 64.0, termination: float = 0.9, rows: int = 4, **kwargs):
        super().__init__(num_classes, scale, termination, **kwargs)
        if int(rows) != rows or rows < 1:
            raise ValueError(f"rows must be a positive integer, got {rows!r}.")
        self.rows = int(rows)
        self.rows_seed = keras.random.SeedGenerator()

    def losses(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None, reach: str) -> tf.Tensor:
        if training is False:
            return super().losses(embeddings, labels, training, reach)
        order = tf.argsort(tf.random.stateless_uniform(tf.shape(labels), self.rows_seed.next()), stable=True)
        chosen, others = order[: self.rows], order[self.rows :]
        full = super().losses(tf.gather(embeddings, chosen), tf.gather(labels, chosen), training, reach)
        intra = self.intra(self.target_cosines(tf.gather(embeddings, others), tf.gather(labels, others), reach))
        return tf.gather(tf.concat([full, intra], axis=0), tf.math.invert_permutation(order))

    def get_config(self):
        return {**super().get_config(), "rows": self.rows}
