"""Walking a long axis in chunks of equal size, with a remainder at the end."""

import tensorflow as tf


def walk(add, state, length, chunk_size):
    """Folds `add` over the chunks of an axis.

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
    """Returns `size` rows from `start`; unlike a slice [start:start + size] of a static shape for XLA."""
    return tf.slice(array, [start] + [0] * (array.shape.rank - 1), [size] + [-1] * (array.shape.rank - 1))


def write(buffer, block, start, size):
    """Returns `buffer` with `size` rows from `start` replaced by `block`, in place where nothing else reads it."""
    if size == buffer.shape[0]:
        return block
    return tf.tensor_scatter_nd_update(buffer, (start + tf.range(size))[:, None], block)
