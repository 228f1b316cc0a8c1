"""Rows of initial values, drawn without the other rows.

TensorFlow's generator of random numbers, Philox, computes each group of four numbers from a counter. Whoever starts the
counter where some rows begin draws them alone, and they are those that the whole matrix has there. So initial values
depend neither on the number of replicas nor on which of them draws.
"""

import functools
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfface import keras_private
from tfface.distribute.row_blocks import row_blocks

Rows = Callable[[int, int], tf.Tensor]

_PHILOX, _GROUP = 1, 4
# Keras takes its seeds modulo this number.
_SEEDS = 2**31 - 2


def initial_rows(initializer, shape: tuple[int, ...], dtype: str) -> Rows:
    """Returns a function (start, stop) -> rows `start` to `stop` of the values that an initializer gives.

    Keras' initializers that are constant, normal, truncated normal or uniform make float32 rows alone, a block at a
    time. Any other initializer is called once for the full shape, whose values stay in host memory as long as the
    function does.

    Args:
      initializer: Keras initializer.
      shape: full shape.
      dtype: of the values.
    """
    if _is_constant(initializer):
        return lambda start, stop: _on_host(lambda: initializer((stop - start, *shape[1:]), dtype=dtype))
    draw = _DRAWS.get(type(initializer))
    if draw is None or dtype != "float32":
        whole = _on_host(lambda: tf.convert_to_tensor(initializer(shape, dtype=dtype)))
        return lambda start, stop: whole[start:stop]
    numbers = functools.partial(draw, initializer, _Philox(initializer.seed))
    return lambda start, stop: _on_host(lambda: _drawn(numbers, start, stop, shape[1:]))


def _is_constant(initializer):
    if isinstance(initializer, keras.initializers.Constant):
        return np.ndim(initializer.value) == 0
    return isinstance(initializer, keras.initializers.Zeros | keras.initializers.Ones)


def _on_host(function):
    with tf.device("CPU:0"):
        return function()


def _drawn(numbers, start, stop, row_shape):
    row_size = math.prod(row_shape)
    rows = tf.raw_ops.Empty(shape=[stop - start, *row_shape], dtype=tf.float32)
    for first, last in row_blocks(start, stop, row_shape):
        block = tf.reshape(numbers(first * row_size, last * row_size), [last - first, *row_shape])
        rows = keras_private.replace_rows(rows, tf.range(first - start, last - start), block)
    return rows


class _Philox:
    """The random numbers that Keras draws from a seed; any part of them.

    Args:
      seed: int, or keras.random.SeedGenerator, which takes one step.
    """

    def __init__(self, seed):
        pair = np.asarray(seed.next()) if isinstance(seed, keras.random.SeedGenerator) else np.array([seed, 0])
        seed = tf.constant(pair.astype(np.int64) % _SEEDS, tf.int32)
        self._key, counter = _on_host(lambda: tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed))
        low, high = map(int, counter)
        self._counter = high << 64 | low

    def numbers(self, operation, start, stop, counts):
        """Returns numbers `start` to `stop` of an operation that counts by `counts` for each group of four."""
        group, before = divmod(start, _GROUP)
        counter = (self._counter + group * counts) % (1 << 128)
        counter = np.array([counter % (1 << 64), counter >> 64], np.uint64)
        size = [before + stop - start]
        return operation(shape=size, key=self._key, counter=counter, alg=_PHILOX, dtype=tf.float32)[before:]


# The same operations as in `tf.random`, so that not one bit differs.


def _normal(initializer, philox, start, stop):
    return philox.numbers(tf.raw_ops.StatelessRandomNormalV2, start, stop, 1) * initializer.stddev + initializer.mean


def _truncated_normal(initializer, philox, start, stop):
    # Numbers are drawn until they lie inside: 256 counts are reserved for each group.
    drawn = philox.numbers(tf.raw_ops.StatelessTruncatedNormalV2, start, stop, 256)
    return drawn * initializer.stddev + initializer.mean


def _uniform(initializer, philox, start, stop):
    low, high = (tf.constant(bound, tf.float32) for bound in (initializer.minval, initializer.maxval))
    return philox.numbers(tf.raw_ops.StatelessRandomUniformV2, start, stop, 1) * (high - low) + low


_DRAWS = {
    keras.initializers.RandomNormal: _normal,
    keras.initializers.TruncatedNormal: _truncated_normal,
    keras.initializers.RandomUniform: _uniform,
}
