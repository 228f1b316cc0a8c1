"""Last batches that are too small: a replica without an example, or with fewer examples than micro-batches."""

import tensorflow as tf

from tfface.distribute import collectives


def fill(batch, parts: int):
    """Repeats the examples of this replica's batch until each of its parts has one.

    A replica without an example gets one of another replica. So batch normalisation and running means never see an
    empty batch. The examples that were added have no share in loss and gradient.

    Args:
      batch: nested structure of tensors [B, ...] and None, the images first; B may be 0.
      parts: int, parts of the batch of a replica.

    Returns:
      (the batch [B', ...] with B' >= parts; the share of each of its examples, float32 [], with B'·share = B; B).
      (the batch, None, None) where the size is known when the step is traced.
    """
    first = _tensors(batch)[0]
    if first.shape[0] is not None or collectives.replica_count() * parts == 1:
        return batch, None, None
    size = tf.shape(first)[0]
    if collectives.replica_count() > 1:
        batch = _with_lent_example(batch, size)
    present = tf.maximum(size, 1)
    times = -(-parts // present)

    def repeat(tensor):
        return tf.cond(times > 1, lambda: tf.gather(tensor, tf.range(present * times) % present), lambda: tensor)

    batch = _map(repeat, batch)
    return batch, tf.cast(tf.minimum(size, 1), tf.float32) / tf.cast(times, tf.float32), size


def _with_lent_example(batch, size):
    """Returns the batch, or where it is empty the first example of the replica with the largest batch."""
    mine = tf.one_hot(collectives.replica_index(), collectives.replica_count())
    sizes = collectives.sum_over_replicas(mine * tf.cast(size, tf.float32))
    lends = tf.equal(collectives.replica_index(), tf.argmax(sizes, output_type=tf.int32))

    def lend(tensor):
        if tensor.dtype == tf.string:
            return tf.cond(size > 0, lambda: tensor, lambda: tf.fill([1, *tensor.shape[1:]], ""))
        wide = tensor.dtype if tensor.dtype.is_floating else tf.float64
        space = tf.zeros(tf.concat([[1], tf.shape(tensor)[1:]], axis=0), wide)
        own = tf.concat([tf.cast(tensor[:1], wide), space], axis=0)[:1]
        lent = collectives.sum_over_replicas(tf.where(lends, own, tf.zeros_like(own)))
        return tf.cond(size > 0, lambda: tensor, lambda: tf.cast(lent, tensor.dtype))

    return _map(lend, batch)


def _tensors(batch):
    return [tensor for tensor in tf.nest.flatten(batch) if tensor is not None]


def _map(function, batch):
    def apply(tensor):
        if tensor is None:
            return None
        made = function(tensor)
        made.set_shape([None, *tensor.shape[1:]])
        return made

    return tf.nest.map_structure(apply, batch)
