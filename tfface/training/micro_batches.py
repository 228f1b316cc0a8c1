"""A batch in parts, whose gradients add up to those of the whole."""

import tensorflow as tf


def split_batch(batch, parts: int) -> list:
    """Divides a batch into parts whose sizes differ by at most one.

    Args:
      batch: nested structure of tensors [B, ...] and None.
      parts: int, at most B.

    Returns:
      list of `parts` structures like `batch`.

    Raises:
      ValueError: B is smaller than `parts`.
      tf.errors.InvalidArgumentError: the same, found when the graph runs.
    """
    if parts == 1:
        return [batch]
    first = next(tensor for tensor in tf.nest.flatten(batch) if tensor is not None)
    size = first.shape[0]
    if size is None:
        message = f"a batch cannot be divided into {parts} micro-batches; its examples:"
        size = tf.shape(first)[0]
        with tf.control_dependencies([tf.debugging.Assert(size >= parts, [message, size])]):
            size = tf.identity(size)
    elif size < parts:
        raise ValueError(f"a batch of {size} examples cannot be divided into {parts} micro-batches.")
    bounds = [size * part // parts for part in range(parts + 1)]

    def part(start, stop):
        return tf.nest.map_structure(lambda tensor: None if tensor is None else tensor[start:stop], batch)

    return [part(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


def after(gradients: list, batch):
    """Returns the batch; in a graph it becomes available after the gradients."""
    with tf.control_dependencies([gradient for gradient in tf.nest.flatten(gradients) if gradient is not None]):
        return tf.nest.map_structure(lambda tensor: None if tensor is None else tf.identity(tensor), batch)


def add_gradients(first: list, second: list) -> list:
    """Adds two lists of gradients; those of sampled rows stay rows."""
    return [_add(a, b) for a, b in zip(first, second, strict=True)]


def _add(a, b):
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, tf.IndexedSlices) and isinstance(b, tf.IndexedSlices):
        values, indices = tf.concat([a.values, b.values], 0), tf.concat([a.indices, b.indices], 0)
        return tf.IndexedSlices(values, indices, a.dense_shape)
    return tf.convert_to_tensor(a) + tf.convert_to_tensor(b)
