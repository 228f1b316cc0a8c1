"""Labels, checked before they choose rows."""

import tensorflow as tf


def check_labels(labels: tf.Tensor, num_classes: int, lowest: int = 0, owner: str = "the head") -> tf.Tensor:
    """Returns `labels` [B], checked to be integers in [lowest, num_classes); some devices gather zeros for others.

    Args:
      labels: integer [B].
      num_classes: int, K.
      lowest: int, 0, or -1 where -1 is the label of faces of no class.
      owner: str, whose classes they are, for the message.

    Raises:
      ValueError: labels are not integers, or not a vector.
      tf.errors.InvalidArgumentError: a label is out of range; the message has the labels and the limit.
    """
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise ValueError(f"labels must be integers, got {labels.dtype.name}.")
    if labels.shape.rank is None:
        # A function of TensorFlow that has met two ranks forgets them.
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.equal(tf.rank(labels), 1), ["labels must have shape [B], got", tf.shape(labels)])]
        ):
            labels = tf.reshape(labels, [-1])
    if labels.shape.rank != 1:
        raise ValueError(f"labels must have shape [B], got {labels.shape}.")
    limit = tf.cast(num_classes, labels.dtype)
    in_range = tf.reduce_all((labels >= lowest) & (labels < limit))
    other = "" if lowest else "; SphereFace2 alone takes -1, for faces of no class"
    message = f"labels must be in [{lowest}, {num_classes}), the classes of {owner}{other}; got"
    with tf.control_dependencies([tf.debugging.Assert(in_range, [message, labels], summarize=16)]):
        return tf.identity(labels)
