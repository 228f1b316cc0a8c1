"""Streams of training records: which record is at which position, for one worker and its devices.

Each stream is a `tf.data.Dataset` of (positions int64 [B], serialized records string [B]), B the images of one device.
Position p is in batch p // batch_size of the uninterrupted stream over all workers.
"""

import contextlib
import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from tfface.data.checked_records import Records
from tfface.data.identity_index import group_by_identity
from tfface.data.order.batches import PK, image_order
from tfface.data.order.shuffles import BlockOrder, Blocks
from tfface.data.parallel import map_in_threads

# This number determines the order of the stream, so it must not depend on the number of processors.
_FILES_AT_ONCE = 16
_READERS = 8  # Threads that read blocks, which wait for network file systems and object stores.
# Pieces of blocks that a thread reads in turn: to hand over each one would take as long as to read it.
_PER_TASK = 4


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of every batch that one worker reads, and its epochs.

    Args:
      batch_size: images per batch, over all workers.
      steps: batches per epoch.
      start_step: index of the first batch.
      epochs: number of epochs per iteration over the dataset; None: infinitely many.
      num_workers: workers that share every batch equally.
      worker_index: index of this worker.
      parts: equal batches into which the share of this worker is split.

    Raises:
      ValueError: an argument is out of range.
    """

    batch_size: int
    steps: int
    start_step: int = 0
    epochs: int | None = None
    num_workers: int = 1
    worker_index: int = 0
    parts: int = 1

    def __post_init__(self):
        if not 0 <= self.worker_index < self.num_workers:
            raise ValueError(
                f"`worker_index` must be in [0, num_workers = {self.num_workers}), got {self.worker_index}."
            )
        if self.parts < 1 or self.batch_size % (self.num_workers * self.parts):
            raise ValueError(
                f"`batch_size` must be a multiple of num_workers * parts = {self.num_workers} * {self.parts}, "
                f"got {self.batch_size}."
            )
        if self.start_step < 0:
            raise ValueError(f"`start_step` must be at least 0, got {self.start_step}.")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"`epochs` must be at least 1, or None for an infinite dataset, got {self.epochs}.")
        if self.epochs is not None and self.start_step % self.steps:
            raise ValueError(
                f"with `epochs`, `start_step` must be a multiple of the {self.steps} steps per epoch, "
                f"got {self.start_step}."
            )

    @property
    def of_worker(self) -> int:
        """Images per batch for this worker."""
        return self.batch_size // self.num_workers

    @property
    def of_device(self) -> int:
        """Images per batch for one device of this worker."""
        return self.of_worker // self.parts

    @property
    def cardinality(self) -> int:
        """Number of the devices' batches in one iteration over the dataset."""
        return tf.data.INFINITE_CARDINALITY if self.epochs is None else self.epochs * self.steps * self.parts

    def numbers_of_epochs(self) -> tf.data.Dataset:
        """Returns the dataset of the numbers of the epochs; each iteration over a finite one takes the next epochs."""
        first = self.start_step // self.steps
        if self.epochs is None:
            return tf.data.Dataset.range(first, tf.int64.max)
        starts = itertools.count(first, self.epochs)
        start = tf.data.Dataset.from_generator(lambda: [next(starts)], output_signature=tf.TensorSpec([], tf.int64))
        return start.flat_map(lambda start: tf.data.Dataset.range(start, start + self.epochs))

    def steps_seen(self, epoch: tf.Tensor) -> tf.Tensor:
        """Returns the number of steps of an epoch that lie before the first batch, int64 []."""
        first_epoch, first_step = divmod(self.start_step, self.steps)
        return tf.cast(tf.where(epoch == first_epoch, first_step, 0), tf.int64)


def shuffled_records(
    records: Records, share: Share, seed: int, shuffle_buffer: int, deterministic: bool
) -> tf.data.Dataset:
    """Builds the stream that reads every record once per epoch, in a new order."""
    batch_size, steps = share.batch_size, share.steps
    records.check_lengths()

    def epoch(number):
        # This sets the seed of this function's graph only. With 0, TensorFlow would compare symbolic seeds.
        tf.random.set_seed(seed + 1)
        order = tf.argsort(tf.random.stateless_uniform([len(records.shards)], seed=[seed, number]), stable=True)
        serialized = tf.data.Dataset.from_tensor_slices(tf.gather(records.shards, order)).interleave(
            records.read,
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=_FILES_AT_ONCE,
            deterministic=deterministic or share.num_workers > 1,  # Workers must agree on the order.
        )
        serialized = serialized.shuffle(shuffle_buffer, seed=number).take(steps * batch_size)
        serialized = serialized.enumerate(number * steps * batch_size).skip(share.steps_seen(number) * batch_size)
        if share.num_workers > 1:
            serialized = serialized.filter(
                lambda position, _: position % batch_size // share.of_worker == share.worker_index
            )
        return serialized

    return share.numbers_of_epochs().flat_map(epoch).batch(share.of_device, drop_remainder=True)


def block_shuffled_records(records: Records, share: Share, seed: int, blocks: Blocks) -> tf.data.Dataset:
    """Builds the stream of `Blocks`, which reads every record once per epoch and none that is another worker's.

    Raises:
      ValueError: the records have no index.
    """
    index = records.random_access
    order = BlockOrder(sum(records.counts), share.batch_size, share.steps, blocks.size, seed)
    images = range(share.worker_index * share.of_worker, (share.worker_index + 1) * share.of_worker)

    def batches(number, first_step):
        pieces = order.pieces(int(number), images, int(first_step))

        def read(some):
            # The last one comes first, so that a record is taken from the end and leaves memory.
            return [index.read(order.numbers(number, piece))[::-1] for piece in some]

        waiting: list[list[bytes]] = [[]] * share.of_worker
        begun = 0
        tasks = [pieces[first : first + _PER_TASK] for first in range(0, len(pieces), _PER_TASK)]
        with contextlib.closing(map_in_threads(read, tasks, _READERS)) as results:
            reading = itertools.chain.from_iterable(results)
            for step in range(int(first_step), share.steps):
                while begun < len(pieces) and pieces[begun].step == step:
                    waiting[pieces[begun].image - images.start] = next(reading)
                    begun += 1
                serialized = np.array([of_image.pop() for of_image in waiting], object)
                positions = (number * share.steps + step) * share.batch_size + np.arange(images.start, images.stop)
                yield from zip(*(np.split(one, share.parts) for one in (positions, serialized)), strict=True)

    shape = [share.of_device]
    signature = (tf.TensorSpec(shape, tf.int64), tf.TensorSpec(shape, tf.string))

    def epoch(number):
        arguments = [number, share.steps_seen(number)]
        return tf.data.Dataset.from_generator(batches, output_signature=signature, args=arguments)

    return share.numbers_of_epochs().flat_map(epoch)


def records_by_identity(records: Records, share: Share, seed: int, batches: PK) -> tf.data.Dataset:
    """Builds the stream of `PK` batches; reads the label of every record first, or the index that holds them.

    Raises:
      ValueError: there are fewer identities than a batch needs, or a record is damaged.
    """
    index = records.random_access
    numbers, starts = group_by_identity(records)
    images_of_step = image_order(starts, batches, seed)

    def epoch(number):
        first = number * share.steps + share.steps_seen(number)
        return tf.data.Dataset.range(first * share.parts, (number + 1) * share.steps * share.parts)

    def read(positions):
        images = images_of_step(int(positions[0]) // share.batch_size)
        return np.array(index.read(numbers[images[positions % share.batch_size]]), object)

    def positions_and_records(number):
        step, part = number // share.parts, number % share.parts
        first = step * share.batch_size + share.worker_index * share.of_worker + part * share.of_device
        positions = first + tf.range(share.of_device, dtype=tf.int64)
        serialized = tf.numpy_function(read, [positions], tf.string, stateful=False)
        return positions, tf.ensure_shape(serialized, [share.of_device])

    # One call of Python at a time, as `from_generator` does: with parallel calls, making a second iterator could hang.
    return share.numbers_of_epochs().flat_map(epoch).map(positions_and_records)
