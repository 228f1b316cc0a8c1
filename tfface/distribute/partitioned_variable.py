"""Variables whose rows of classes are divided among the replicas; `class_rows` is how others ask for rows."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tfface import keras_private
from tfface.distribute import collectives
from tfface.distribute.initial_rows import initial_rows
from tfface.distribute.row_blocks import row_blocks


def class_ranges(num_classes: int, shards: int) -> list[tuple[int, int]]:
    """Returns the classes of every shard as pairs (start, stop), whose sizes differ by at most one.

    Raises:
      ValueError: there are fewer classes than shards.
    """
    if num_classes < shards:
        raise ValueError(f"{num_classes} classes cannot be divided among {shards} replicas: each needs one.")
    bounds = [num_classes * shard // shards for shard in range(shards + 1)]
    return list(zip(bounds, bounds[1:], strict=False))


class PartitionedVariable(keras.Variable):
    """A variable of rows of classes; in a replica, its `value` is the rows of that replica's classes.

    To Keras it is one variable of the full shape: it is counted, listed, saved and loaded as such. Code that reads or
    assigns it outside of replicas (`numpy`, `assign`, saving a model) sees all rows; with several workers, all must
    take part.

    Args:
      initializer: Keras initializer; `initial_rows` says which ones draw each shard alone.
      shape: full shape; the rows of one class, shape[0] / num_classes, follow each other.
      num_classes: int.
      on_host: bool, the rows stay in host memory wherever the replica computes.
      **kwargs: of `keras.Variable`.

    Attributes:
      ranges: the classes (start, stop) of every replica.

    Raises:
      ValueError: there are fewer classes than replicas.
    """

    def __init__(self, initializer, shape: tuple[int, ...], num_classes: int, on_host: bool = False, **kwargs):
        self.num_classes = num_classes
        self.on_host = on_host
        self._strategy = tf.distribute.get_strategy()
        self.ranges = class_ranges(num_classes, collectives.replica_count())
        super().__init__(initializer, shape, **kwargs)

    def like(self, initializer, **kwargs) -> "PartitionedVariable":
        """Returns a variable with rows in the same places, such as an optimizer's momentum."""
        return PartitionedVariable(initializer, tuple(self.shape), self.num_classes, self.on_host, **kwargs)

    def classes(self) -> tuple[int, int] | None:
        """Returns (start, stop), the classes of this replica; None outside of replicas."""
        number = self._replica()
        return None if number is None else self.ranges[number]

    def shards(self) -> Iterator[tuple[int, tf.Variable]]:
        """Yields (first row, tf.Variable) of every shard of this process."""
        for number, variable in self._shards.items():
            yield self._rows(number)[0], variable

    def _initialize_with_initializer(self, initializer):
        with tf.init_scope():
            self._make_shards(initial_rows(initializer, tuple(self.shape), self.dtype), self.shape)

    def _initialize(self, value):
        with tf.init_scope():
            self._make_shards(lambda start, stop: value[start:stop], value.shape)

    def _make_shards(self, rows, shape):
        self._shards = {}
        for number, device in collectives.local_replicas():
            values = rows(*self._rows(number, shape))
            with tf.device("CPU:0" if self.on_host else device):
                name = f"{self.name}_{number}"
                self._shards[number] = keras_private.device_variable(values, self.trainable, name)
        self._value = next(iter(self._shards.values()))

    def _rows(self, number, shape=None):
        rows_per_class = (shape or self.shape)[0] // self.num_classes
        return tuple(rows_per_class * bound for bound in self.ranges[number])

    def _replica(self):
        if len(self.ranges) == 1:
            return 0
        if tf.distribute.get_strategy() is not self._strategy and tf.distribute.has_strategy():
            raise ValueError(
                f"variable {self.path} is divided among the {len(self.ranges)} replicas of another strategy than the "
                "one that uses it: build, compile and train a model in the scope of one strategy."
            )
        return collectives.replica_index() if tf.distribute.get_strategy() is self._strategy else None

    @property
    def value(self):
        number = self._replica()
        if number is not None:
            return self._shards[number]
        rows = self._all_rows()
        # Keras asks for it outside of replicas too, where a variable is excluded from weight decay.
        keras_private.set_unique_id(rows, self.unique_id)
        return rows

    @property
    def unique_id(self) -> str:
        """str, the same in all replicas."""
        return keras_private.unique_id(self._value)

    def _all_rows(self):
        with tf.device("CPU:0"):
            if len(self._shards) == len(self.ranges):
                return tf.concat([shard.value() for shard in self._shards.values()], axis=0)
            return tf.convert_to_tensor(self.numpy())

    def assign(self, value):
        """Assigns all rows, which stay in host memory, or in a replica its own."""
        with tf.device("CPU:0") if self.on_host or self._replica() is None else contextlib.nullcontext():
            return super().assign(value)

    def _direct_assign(self, value):
        number = self._replica()
        if number is not None:
            self._shards[number].assign(value)
            return
        for number, shard in self._shards.items():
            start, stop = self._rows(number)
            shard.assign(value[start:stop])

    def numpy(self) -> np.ndarray:
        """Returns all rows; they are read a block at a time, so that no device holds more than its own.

        With several workers, all must call it.
        """
        rows = np.empty(tuple(self.shape), tf.as_dtype(self.dtype).as_numpy_dtype)
        here = len(self._shards) == len(self.ranges)
        for first, block in self.local_blocks() if here else self._gathered_blocks():
            rows[first : first + len(block)] = block
        return rows

    def __array__(self, dtype=None):
        return np.asarray(self.numpy(), dtype)

    def local_blocks(self) -> Iterator[tuple[int, tf.Tensor]]:
        """Yields (first row, rows) of the shards of this process, a block at a time."""
        for start, shard in self.shards():
            for first, last in row_blocks(0, shard.shape[0], shard.shape[1:]):
                # Gathered from the variable, because TensorFlow may copy the whole shard before it is sliced.
                yield start + first, tf.gather(shard, tf.range(first, last))

    def _gathered_blocks(self):
        """Yields (first row, rows) of all shards, which all workers send each other."""
        bounds = [self._rows(number) for number in range(len(self.ranges))]
        largest = max(stop - start for start, stop in bounds)

        def own(numbers):
            # All replicas send equally many rows: one whose shard has ended repeats its last.
            return collectives.all_gather(tf.gather(self.value, tf.minimum(numbers, self.value.shape[0] - 1)))

        with self._strategy.scope():
            run = tf.function(lambda numbers: self._strategy.run(own, args=(numbers,)))
            for first, last in row_blocks(0, largest, (len(bounds), *self.shape[1:])):
                gathered = self._strategy.experimental_local_results(run(tf.range(first, last)))[0]
                for (start, stop), block in zip(bounds, np.split(gathered.numpy(), len(bounds)), strict=True):
                    # Nothing is left of a shard that has ended.
                    yield start + first, block[: max(0, stop - start - first)]

    def _serialize_to_tensors(self):
        return {"VARIABLE_VALUE": self._all_rows()}

    def _restore_from_tensors(self, restored_tensors):
        self.assign(restored_tensors["VARIABLE_VALUE"])
