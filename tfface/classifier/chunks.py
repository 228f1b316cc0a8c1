"""Chunks of classes, all of the same size but the last."""

import math
from collections.abc import Callable

import tensorflow as tf

from tfface import keras_private


def walk(add: Callable, state, length: int, chunk_size: int | None):
    """Folds `add` over the chunks of an axis, one after another.

    Args:
      add: function (state, start, size) -> state; `start` is an int or an int32 tensor, `size` an int.
      state: nested structure of tensors.
      length: int, of the axis.
      chunk_size: int; None: one chunk.

    Returns:
      The last state.
    """
    if chunk_size is None or chunk_size >= length:
        return add(state, 0, length)
    whole, rest = divmod(length, chunk_size)
    _, state = tf.while_loop(
        lambda number, _: number < whole,
        lambda number, state: (number + 1, add(state, number * chunk_size, chunk_size)),
        (0, state),
        # Parallel chunks would need the memory that chunks are meant to save.
        parallel_iterations=1,
    )
    return add(state, whole * chunk_size, rest) if rest else state


def take(array: tf.Tensor, start: int | tf.Tensor, size: int) -> tf.Tensor:
    """Returns `size` rows from `start`, of a static shape."""
    if size == array.shape[0]:
        return array
    return tf.slice(array, [start] + [0] * (array.shape.rank - 1), [size] + [-1] * (array.shape.rank - 1))


def buffer(like: tf.Tensor) -> tf.Tensor:
    """Returns a tensor of the shape of `like` for `write` to fill; its content is undefined until then."""
    return tf.raw_ops.Empty(shape=like.shape, dtype=like.dtype)


def write(buffer: tf.Tensor, block: tf.Tensor, start: int | tf.Tensor, size: int | None) -> tf.Tensor:
    """Returns `buffer` with `size` rows from `start` replaced by `block`.

    The buffer is changed in place, whatever else refers to it: TensorFlow's other updates copy a loop's state, which
    for the gradient of all class weights would be a copy of [K, d] for every chunk. `start` is a multiple of `size`, or
    the block is the last one.
    """
    if size is None or size == buffer.shape[0]:
        return block
    # As few and as long rows as both arrays can be seen to have: each is copied by a call of its own.
    longer = math.gcd(buffer.shape[0], size)
    rows, block = (tf.reshape(array, [array.shape[0] // longer, -1]) for array in (buffer, block))
    rows = keras_private.replace_rows(rows, start // longer + tf.range(size // longer), block)
    return tf.reshape(rows, buffer.shape)
