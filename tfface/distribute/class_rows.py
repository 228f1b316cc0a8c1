"""Rows of classes, wherever they are: one interface to plain and to partitioned variables."""

from collections.abc import Iterator

import keras
import tensorflow as tf

from tfface.distribute import collectives
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.geometry import unit


def shards(variable: keras.Variable) -> Iterator[tuple[int, keras.Variable | tf.Variable]]:
    """Yields (first row, variable) of every shard in this process; a plain variable is its only shard."""
    return variable.shards() if isinstance(variable, PartitionedVariable) else iter([(0, variable)])


class ClassRows:
    """The rows of the classes in a variable, all of them here or partitioned among the replicas.

    Rows are numbered as in the whole variable. Those of one class (its sub-centers) follow each other.

    Args:
      variable: keras.Variable [K · sub_centers, d], or a tensor, all of whose rows are here.
      num_classes: int, K.
      differentiable: bool, whether gradients reach the rows of `by_class`, `everywhere` and `of_classes`.
    """

    def __init__(self, variable: keras.Variable | tf.Tensor, num_classes: int, differentiable: bool = True):
        self.variable = variable
        self.num_classes = num_classes
        self.sub_centers = variable.shape[0] // num_classes
        self.differentiable = differentiable

    def frozen(self) -> "ClassRows":
        """Returns the same rows for a loss whose gradient does not reach them."""
        return ClassRows(self.variable, self.num_classes, differentiable=False)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The classes (start, stop) of every shard."""
        return self.variable.ranges if isinstance(self.variable, PartitionedVariable) else [(0, self.num_classes)]

    @property
    def classes(self) -> tuple[int, int]:
        """The classes (start, stop) whose rows this replica reads: its own, or all outside of replicas."""
        own = self.variable.classes() if isinstance(self.variable, PartitionedVariable) else None
        return own or (0, self.num_classes)

    @property
    def partial(self) -> bool:
        """Whether this replica has the rows of some classes only, and others have the rest."""
        return self.classes != (0, self.num_classes)

    def here(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns bool [B]: whether the classes of labels [B] have their rows in this replica."""
        start, stop = self.classes
        return (labels >= start) & (labels < stop)

    def local(self, labels: tf.Tensor, elsewhere: int) -> tf.Tensor:
        """Returns labels [B] counted from this replica's first class, `elsewhere` for classes of other replicas."""
        if not self.partial:
            return labels
        return tf.where(self.here(labels), labels - tf.cast(self.classes[0], labels.dtype), elsewhere)

    def by_class(self) -> tf.Tensor:
        """Returns this replica's rows as [classes, sub_centers, d]."""
        start, stop = self.classes
        rows = tf.reshape(tf.convert_to_tensor(self.variable), [stop - start, self.sub_centers, -1])
        return rows if self.differentiable else tf.stop_gradient(rows)

    def everywhere(self) -> tf.Tensor:
        """Returns the rows of all classes as [K, sub_centers, d]; partitioned, for a loss that is a sum of parts."""
        start, stop = self.classes
        rows = self.by_class()
        if not self.partial:
            return rows
        return collectives.sum_for_each(tf.pad(rows, [[start, self.num_classes - stop], [0, 0], [0, 0]]))

    def of_classes(self, classes: tf.Tensor) -> tf.Tensor:
        """Returns the rows [n, sub_centers, d] of classes [n]; partitioned, for a loss that is a sum of parts.

        In a partial view every replica must call it with the same classes.
        """
        rows = tf.gather(self.by_class(), self.local(classes, elsewhere=0))
        if not self.partial:
            return rows
        return collectives.sum_for_each(tf.where(self.here(classes)[:, None, None], rows, 0.0))

    def target_cosines(self, directions: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Computes the cosines [B] between unit vectors [B, d] and the nearest rows of their classes [B].

        In a partial view every replica must call it with the same arguments.
        """
        own = unit(tf.gather(self.by_class(), self.local(labels, elsewhere=0)))
        cosines = tf.reduce_max(tf.einsum("bd,bsd->bs", directions, own), axis=1)
        return self.sum_over_shards(tf.where(self.here(labels), cosines, 0.0))

    def numbers(self, classes: tf.Tensor) -> tf.Tensor:
        """Returns the numbers [n, sub_centers] of the rows of classes [n]."""
        return classes[:, None] * self.sub_centers + tf.range(self.sub_centers, dtype=classes.dtype)

    def classes_of(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the classes [n] that the rows of these numbers [n] belong to."""
        return numbers // self.sub_centers

    def take_local(self, classes: tf.Tensor) -> tf.Tensor:
        """Returns the rows [n · sub_centers, d] of classes [n] of this replica, counted from its first one.

        The gradient has those rows only.
        """
        # Gathered from the variable, not from its value: once rows were updated, TensorFlow copies what it reads whole.
        return tf.gather(self.variable.value, tf.reshape(self.numbers(classes), [-1]))

    def fetch(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the rows [n, d] of these numbers [n] from wherever they are, without gradient.

        In a partial view every replica must call it, with numbers of its own; it takes one message to ask and one to
        answer.
        """
        if not self.partial:
            return tf.stop_gradient(tf.gather(self.variable.value, numbers))
        asked = collectives.gather_integers(numbers)
        here = self.here(self.classes_of(asked.values))
        first = self.classes[0] * self.sub_centers
        rows = tf.stop_gradient(tf.gather(self.variable.value, tf.where(here, asked.values - first, 0)))
        return asked.own(collectives.sum_over_replicas(tf.where(here[:, None], rows, 0.0)))

    def sum_over_shards(self, value: tf.Tensor) -> tf.Tensor:
        """Returns the sum of values that each shard computed from its rows, as `collectives.sum_over_shards`."""
        return collectives.sum_over_shards(value) if self.partial else value
