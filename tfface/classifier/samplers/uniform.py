"""Samplers choose the classes of a training step; this one draws them uniformly."""

import typing

import keras
import tensorflow as tf

from tfface.checks import check_option


class Sample(typing.NamedTuple):
    """Classes chosen for one batch."""

    rows: tf.Tensor  # int32 [n], class of the weights in each place
    classes: tf.Tensor  # int32 [n], the same, or -1 where the place is void
    counts: tf.Tensor  # bool [n], whether the class counts as a negative


@keras.saving.register_keras_serializable("tfface")
class UniformSampler:
    """Draws a fraction of all classes without replacement and adds those of the batch.

    The draw is the beginning of a pseudo-random permutation, computed for the chosen classes alone. Shapes are static:
    ⌊rate·K⌋ drawn places (at least one) and one for each example; repetitions are void.

    Args:
      rate: float in (0, 1].
      batch_classes: "included": classes of the batch are negatives of the other examples, as in Partial FC;
        "excluded": they are not negatives of any example, as in D-Softmax-K's Eq. 11.

    Raises:
      ValueError: `rate` or `batch_classes` is out of range.

    Reference:
      An et al., "Partial FC", 2021; He et al., "Softmax Dissection", 2020, Eq. 11.
    """

    def __init__(self, rate: float, batch_classes: str = "included"):
        if not 0 < rate <= 1:
            raise ValueError(f"sampling rate must be in (0, 1], got {rate!r}.")
        check_option("batch_classes", batch_classes, ("included", "excluded"))
        self.rate = float(rate)
        self.batch_classes = batch_classes

    def __call__(
        self, labels: tf.Tensor, num_classes: int, seed: tf.Tensor, embeddings: tf.Tensor | None = None
    ) -> Sample:
        """Chooses the classes of a batch.

        Args:
          labels: int [B]; those outside [0, K) belong to other shards and are ignored.
          num_classes: int K.
          seed: uint32 or int32 [2].
          embeddings: float32 [B, d], for samplers that look for near classes; not used here.

        Returns:
          `Sample` with n = max(1, ⌊rate·K⌋) + B places.
        """
        count = drawn_classes(self.rate, num_classes)
        # Hashed, because permutations of consecutive seeds are similar: some classes came up too often.
        seed = tf.random.stateless_uniform([2], tf.cast(seed, tf.int32), minval=None, maxval=None, dtype=tf.int32)
        drawn = tf.random.experimental.index_shuffle(tf.range(count), seed, num_classes - 1)
        ordered = tf.sort(tf.cast(labels, tf.int32))
        nearest = tf.minimum(tf.searchsorted(ordered, drawn), tf.size(ordered) - 1)
        in_batch = tf.gather(ordered, nearest) == drawn
        return with_batch(drawn, in_batch, ordered, num_classes, self.batch_classes)

    def get_config(self):
        return {"rate": self.rate, "batch_classes": self.batch_classes}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def drawn_classes(rate: float, num_classes: int) -> int:
    """Returns how many classes a sampler draws beside those of the batch."""
    return max(1, int(rate * num_classes))


def with_batch(
    drawn: tf.Tensor, in_batch: tf.Tensor, ordered: tf.Tensor, num_classes: int, batch_classes: str
) -> Sample:
    """Makes a `Sample` of drawn classes [n] and the sorted labels [B] of the batch; repetitions are void.

    Args:
      drawn: int32 [n], different classes, at least one.
      in_batch: bool [n], which of them the batch has.
      ordered: int32 [B], its labels, sorted; those outside of [0, num_classes) are void.
      num_classes: int.
      batch_classes: "included" or "excluded", see `UniformSampler`.
    """
    inside = (ordered >= 0) & (ordered < num_classes)
    first = tf.concat([[True], ordered[1:] != ordered[:-1]], axis=0) & inside
    return Sample(
        # Void places repeat a drawn row: row optimizers move every row that they are given.
        rows=tf.concat([drawn, tf.where(inside, ordered, drawn[0])], axis=0),
        classes=tf.concat([tf.where(in_batch, -1, drawn), tf.where(first, ordered, -1)], axis=0),
        counts=tf.concat([~in_batch, first & (batch_classes == "included")], axis=0),
    )
