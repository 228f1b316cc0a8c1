"""Walking the classes in chunks of equal size, with a remainder at the end."""

import tensorflow as tf

from tfface import keras_private


def walk(add, state, length, chunk_size):
    """Folds `add` over the chunks of an axis, one after the other.

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
        # Side by side, chunks would need the memory that they are to save.
        parallel_iterations=1,
    )
    return add(state, whole * chunk_size, rest) if rest else state


def take(array, start, size):
    """Returns `size` rows from `start`, of a static shape."""
    if size == array.shape[0]:
        return array
    return tf.slice(array, [start] + [0] * (array.shape.rank - 1), [size] + [-1] * (array.shape.rank - 1))


def buffer(like):
    """Returns a tensor of the shape of `like` for `write` to fill; its content is undefined until then."""
    return tf.raw_ops.Empty(shape=like.shape, dtype=like.dtype)


def write(buffer, block, start, size):
    """Returns `buffer` with `size` rows from `start` replaced by `block`.

    The buffer is changed in place, whatever else refers to it: TensorFlow's other updates copy a loop's state, which
    for the gradient of all class weights would be a copy of [K, d] for every chunk.
    """
    if size == buffer.shape[0]:
        return block
    return keras_private.replace_rows(buffer, start + tf.range(size), block)
