"""The comparisons of a batch: those of this replica's examples with the examples of all replicas."""

from typing import NamedTuple

import tensorflow as tf

from tfface.distribute import collectives
from tfface.losses.base import as_identities, as_matrix
from tfface.losses.distances import distances_to_batch


class Comparisons(NamedTuple):
    """Each of b examples of this replica against the B examples of all replicas."""

    distances: tf.Tensor  # float32 [b, B], zero from an example to itself
    same: tf.Tensor  # bool [b, B], of the same identity
    itself: tf.Tensor  # bool [b, B], the same example


def compare(embeddings: tf.Tensor, labels: tf.Tensor, distance: str) -> Comparisons:
    """Compares the examples of this replica with those of all replicas; one message gathers them.

    Outside of replicas the batch is that of the arguments. The gradient of the embeddings is the one that all losses of
    all replicas have.

    Args:
      embeddings: float [b, d]; replicas may have different b, but at least one example each.
      labels: integer [b].
      distance: one of `DISTANCES`.

    Returns:
      `Comparisons`.

    Raises:
      ValueError: wrong rank, or labels that are not integers.
    """
    embeddings, labels = as_matrix(embeddings, "embeddings"), as_identities(labels)
    batch, labels_of_batch, start = embeddings, labels, 0
    if _in_replicas():
        gathered = collectives.gather_batch(embeddings, labels)
        batch, labels_of_batch, start = gathered.embeddings, gathered.labels, gathered.start
        labels = tf.cast(labels, labels_of_batch.dtype)
    rows, columns = tf.range(tf.shape(embeddings)[0]), tf.range(tf.shape(batch)[0])
    itself = rows[:, None] + start == columns[None, :]
    same = labels[:, None] == labels_of_batch[None, :]
    return Comparisons(distances_to_batch(embeddings, batch, itself, distance), same, itself)


def total(count: tf.Tensor) -> tf.Tensor:
    """Returns the sum of a count over all replicas."""
    return collectives.sum_over_replicas(count) if _in_replicas() else count


def _in_replicas():
    return collectives.replica_count() > 1 and collectives.replica_index() is not None
