"""Strategies: the devices that train together, and the distribution of batches to them."""

from collections.abc import Callable

import tensorflow as tf

from tfface import interrupts
from tfface.distribute.cluster import read_cluster

STRATEGIES = ("none", "mirrored", "multiworker")


def make_strategy(name: str, replicas: int = 0) -> tf.distribute.Strategy:
    """Makes a strategy, before TensorFlow has computed anything.

    Args:
      name: "none": one device. "mirrored": several devices of this machine. "multiworker": the processes that the
        environment variable TF_CONFIG lists, each with all GPUs of its machine or, without any, the CPU.
      replicas: int, devices of "mirrored"; with fewer GPUs, logical CPU devices take their place. 0: all GPUs.

    Returns:
      tf.distribute.Strategy.

    Raises:
      ValueError: `replicas` does not fit the strategy, TF_CONFIG is missing or malformed, or TensorFlow has been used
        already.
    """
    if name != "mirrored" and replicas > 1:
        raise ValueError(f"replicas are a setting of strategy 'mirrored', got replicas={replicas} with {name!r}.")
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "multiworker":
        read_cluster()
        # Collective operations get no timeout: TensorFlow would keep a thread for each until the timeout has passed,
        # 200 threads per step. The connection and TensorFlow's health check notice a worker that is gone.
        with interrupts.kept():
            return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_physical_devices("GPU")
    replicas = replicas or len(gpus) or 1
    if replicas <= len(gpus):
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(replicas)])
    _divide_cpu(replicas)
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])


def distribute(
    strategy: tf.distribute.Strategy, make_dataset: Callable[[int, int, int], tf.data.Dataset], batch_size: int
):
    """Gives every replica its part of each batch.

    Args:
      strategy: tf.distribute.Strategy.
      make_dataset: function (num_workers, worker_index, parts) -> dataset of this worker's share of each batch, cut
        into that many equal parts; as `tfface.data.train_dataset`.
      batch_size: int, images per step over all replicas.

    Returns:
      A dataset for `fit`.

    Raises:
      ValueError: workers would get unequal batches.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return make_dataset(1, 0, 1)
    if batch_size % replicas == 0:
        # With a static size, replicas need no message about it.
        return strategy.distribute_datasets_from_function(
            lambda context: make_dataset(
                context.num_input_pipelines, context.input_pipeline_id, replicas // context.num_input_pipelines
            )
        )
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or batch_size < replicas:
        raise ValueError(f"batch_size {batch_size} cannot be divided among {replicas} replicas.")
    return make_dataset(1, 0, 1)


def _divide_cpu(parts):
    configuration = [tf.config.LogicalDeviceConfiguration()] * parts
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], configuration)
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) < parts:
            raise ValueError(f"the CPU can be divided into {parts} replicas before TensorFlow is used only.") from None
