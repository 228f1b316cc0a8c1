"""Replica identity and collective operations; outside of a strategy there is one replica.

A step of a class-parallel head takes three messages whatever the number of classes: its batch is gathered, a few
numbers per example are summed over the shards, and the gradient of the embeddings is summed; each replica takes its
part of it.

Every replica computes the losses of the whole batch, each from its own classes. Its gradient with respect to shared
tensors is a part; the sum of the parts over the replicas is the whole gradient.
"""

import typing

import numpy as np
import tensorflow as tf


def replica_count() -> int:
    """Returns the number of replicas of the current strategy, over all workers."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_index() -> int | None:
    """Returns the index of this replica among all, an int, or None in cross-replica context."""
    context = tf.distribute.get_replica_context()
    # It is a constant while a function is traced: each replica has its own trace.
    return None if context is None else int(tf.get_static_value(context.replica_id_in_sync_group))


def among_replicas() -> bool:
    """Whether the caller is one of several replicas, each with a part of the batch."""
    return replica_count() > 1 and replica_index() is not None


def is_multi_worker() -> bool:
    """Whether the replicas of the current strategy are in several processes."""
    return isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)


def local_replicas() -> list[tuple[int, str | None]]:
    """Returns the replicas of this process as pairs (index, device); outside of a strategy the device is None."""
    if not tf.distribute.has_strategy():
        return [(0, None)]
    strategy = tf.distribute.get_strategy()
    with tf.init_scope():
        numbers = strategy.experimental_local_results(tf.function(strategy.run)(_number))
    return list(zip(map(int, numbers), strategy.extended.worker_devices, strict=True))


def _number():
    return tf.identity(tf.distribute.get_replica_context().replica_id_in_sync_group)


def sum_over_replicas(value):
    """Returns the sum of a tensor (or of each of a list of tensors) over all replicas; takes no gradient."""
    if replica_count() == 1:
        return value
    # Without the stop, TensorFlow would look for variables behind each value in the graphs of all other replicas, and
    # the time to trace a network would grow with the square of the number of its messages.
    value = tf.nest.map_structure(
        lambda each: each if isinstance(each, tf.IndexedSlices) else tf.stop_gradient(each), value
    )
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


@tf.custom_gradient
def sum_over_shards(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the parts that the replicas hold.

    All replicas then compute the same from it, so each already has the whole gradient of its own part.
    """
    return sum_over_replicas(value), lambda upstream: upstream


@tf.custom_gradient
def sum_for_each(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the parts that the replicas hold, for each replica to compute its own part of a loss from.

    Each replica then has a part of the gradient, so the parts are summed too.
    """

    def gradient(upstream):
        return sum_over_replicas(tf.convert_to_tensor(upstream))

    return sum_over_replicas(value), gradient


def all_gather(value: tf.Tensor) -> tf.Tensor:
    """Returns the tensors of all replicas, one after the other along axis 0; takes no gradient."""
    # MultiWorkerMirroredStrategy cannot gather a tensor without a device in a function.
    with tf.device(tf.distribute.get_strategy().extended.worker_devices[0] if is_multi_worker() else None):
        value = tf.identity(value)
    return tf.distribute.get_replica_context().all_gather(value, axis=0)


class Integers(typing.NamedTuple):
    """The integers of all replicas as one vector."""

    values: tf.Tensor  # int32 [N]
    own: typing.Callable  # function from a tensor [N, ...] to this replica's part [n, ...]


def gather_integers(values: tf.Tensor) -> Integers:
    """Gathers integers [n] of all replicas, in one message; replicas may have different n.

    Returns:
      `Integers`.
    """
    size = tf.shape(values)[0]
    whole = _integers(all_gather(_with_replica_index(values)))
    start = _first_own(whole[:, 1])
    return Integers(tf.cast(whole[:, 0], tf.int32), lambda tensor: tensor[start : start + size])


# On GPUs, TensorFlow computes with int32 on the host, and a step would wait for it. So integers become bits before they
# are put together, and int64 as soon as they are integers again.


def _with_replica_index(values):
    """Integers [n] beside the index of the replica that they come from, as the bits of float32 [n, 2]."""
    index = tf.bitcast(tf.constant(replica_index(), tf.int32), tf.float32)
    return tf.stack([tf.bitcast(tf.cast(values, tf.int32), tf.float32), tf.fill(tf.shape(values), index)], axis=1)


def _integers(columns):
    """The int64 integers of columns of bits."""
    return tf.cast(tf.bitcast(columns, tf.int32), tf.int64)


def _first_own(replicas):
    """Returns the first entry of this replica among gathered ones, given the replica index of each entry."""
    return tf.cast(tf.reduce_sum(tf.cast(replicas < replica_index(), tf.int64)), tf.int32)


class Batch(typing.NamedTuple):
    """The batches of all replicas as one."""

    embeddings: tf.Tensor  # [B, d]
    labels: tf.Tensor  # [B]
    sample_weight: tf.Tensor  # [B]
    own: typing.Callable  # function from losses [B] to this replica's [b]
    start: tf.Tensor  # index of this replica's first example, int32 []


def gather_batch(embeddings: tf.Tensor, labels: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Batch:
    """Gathers the examples of all replicas, in one message.

    Args:
      embeddings: float32 [b, d]; replicas may have different b, but at least one example each.
      labels: integer [b].
      sample_weight: float32 [b]; None: ones.

    Returns:
      `Batch`. The gradient of its embeddings is summed over the replicas. The gradient of the losses that `own` returns
      must be the same number for all examples of all replicas, as that of their mean is: no message is spent on it.

    Raises:
      tf.errors.InvalidArgumentError: a replica has no example, or the gradients of its losses differ.
    """
    dimension, static_size = embeddings.shape[1], embeddings.shape[0]
    size = static_size or tf.shape(embeddings)[0]
    sample_weight = tf.ones([size]) if sample_weight is None else tf.cast(sample_weight, tf.float32)
    integers = _with_replica_index(labels)

    @tf.custom_gradient
    def gathered_embeddings(embeddings):
        whole = all_gather(tf.concat([embeddings, integers, sample_weight[:, None]], axis=1))
        rest = _integers(whole[:, dimension : dimension + 2])
        start, checks = None, []
        if not static_size:
            start = _first_own(rest[:, 1])
            # Not tf.math.bincount, which has no deterministic kernel on GPUs.
            owners = tf.reduce_sum(tf.one_hot(rest[:, 1], replica_count()), axis=0)
            checks.append(tf.debugging.Assert(tf.reduce_all(owners > 0), [_EMPTY, owners], summarize=64))
        with tf.control_dependencies(checks):
            outputs = [whole[:, :dimension], rest[:, 0], whole[:, -1], *([] if start is None else [start])]

        def gradient(upstream, *_):
            own = replica_index() * static_size if start is None else start
            return sum_over_replicas(tf.convert_to_tensor(upstream))[own : own + size]

        return outputs, gradient

    whole, labels, weights, *start = gathered_embeddings(embeddings)
    if static_size:
        # tf.distribute gives a static size only where all replicas have it.
        start = [tf.constant(replica_index() * static_size)]
        for tensor in (whole, labels, weights):
            tensor.set_shape([static_size * replica_count(), *tensor.shape[1:]])
    (start,) = start

    @tf.custom_gradient
    def own(losses):
        def gradient(upstream):
            low, high = tf.reduce_min(upstream), tf.reduce_max(upstream)
            with tf.control_dependencies([tf.debugging.Assert(low == high, [_UNEVEN, low, high])]):
                # The shape of the losses would do too, but gradients would have to wait for them.
                return tf.fill(tf.shape(labels), low)

        part = losses[start : start + size]
        part.set_shape(embeddings.shape[:1])
        return part, gradient

    return Batch(whole, labels, weights, own, start)


_EMPTY = "every replica needs at least one example, so drop the remainder of the data; examples by replica:"
_UNEVEN = (
    "losses of a partitioned head must all have the same weight (sample_weight is an argument of the head); "
    "got gradients from and to"
)


def worker_index() -> int:
    """Returns the index of this process among those that train together."""
    return (
        _resolver().task_id + (_resolver().task_type != "chief" and "chief" in _cluster()) if is_multi_worker() else 0
    )


def is_chief() -> bool:
    """Whether this process writes what only one process should write."""
    return worker_index() == 0


def sum_over_workers(numbers) -> np.ndarray:
    """Returns the sums of numbers over all workers, NumPy float64; all must call it, outside of replicas."""
    numbers = np.asarray(numbers, np.float64)
    return _sum_over_workers(tf.constant(numbers)).numpy() if is_multi_worker() else numbers


def barrier() -> None:
    """Returns when all workers have called it."""
    sum_over_workers(0)


@tf.function
def _sum_over_workers(numbers):
    strategy = tf.distribute.get_strategy()

    def of_first_replica(numbers):
        replicas = len(strategy.extended.worker_devices)
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        return sum_over_replicas(numbers * tf.cast(index % replicas == 0, numbers.dtype))

    return strategy.experimental_local_results(strategy.run(of_first_replica, args=(numbers,)))[0]


def _resolver():
    return tf.distribute.get_strategy().cluster_resolver


def _cluster():
    return _resolver().cluster_spec().as_dict()
