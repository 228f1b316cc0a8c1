"""SGD that touches only the rows a step has gradients for."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfface")
class RowSGD(keras.optimizers.SGD):
    """SGD with momentum for sampled heads: rows of class weights without a gradient stay as they are.

    Keras' own SGD lets the momentum of every row decay and move its weights at every step, which for a million classes
    costs as much as the full loss. Here weights, momentum and weight decay of the sampled rows alone are read and
    written. Variables with ordinary gradients are treated as by Keras' SGD.

    Keras decays all rows of a variable; exclude the class weights from that, their sampled rows are decayed here:

        optimizer = RowSGD(0.1, momentum=0.9, weight_decay=5e-3)
        optimizer.exclude_from_weight_decay([head.class_weights])

    Args:
      As `keras.optimizers.SGD`, without `nesterov`.

    Raises:
      ValueError: `nesterov` is set.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, **kwargs):
        if nesterov:
            raise ValueError("RowSGD has no Nesterov momentum, got nesterov=True.")
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        if not isinstance(gradient, tf.IndexedSlices):
            return super().update_step(gradient, variable, learning_rate)
        dtype = gradient.values.dtype
        rate = tf.cast(learning_rate, dtype)
        rows = gradient.indices
        # Rows may repeat: gradients of all occurrences add up, what the row itself brings counts at the first.
        first = tf.cast(_first_occurrences(rows), dtype)[:, None]
        weights = variable.value if isinstance(variable, keras.Variable) else variable
        change = change_of_momentum = -rate * gradient.values
        if self.momentum:
            momentum = self.momentums[self._get_variable_index(variable)].value
            old = first * _rows_of(momentum, rows)
            change_of_momentum += (self.momentum - 1.0) * old
            change += self.momentum * old
            momentum.scatter_add(tf.IndexedSlices(change_of_momentum, rows))
        if self.weight_decay:
            change -= rate * self.weight_decay * first * _rows_of(weights, rows)
        weights.scatter_add(tf.IndexedSlices(change, rows))
        return None


def _rows_of(variable, rows):
    """Rows of a variable, read without reading the rest."""
    return tf.raw_ops.ResourceGather(resource=variable.handle, indices=rows, dtype=variable.dtype)


def _first_occurrences(rows):
    """Returns bool [n]: whether each of rows [n] appears for the first time."""
    order = tf.argsort(rows, stable=True)
    ordered = tf.gather(rows, order)
    first = tf.concat([[True], ordered[1:] != ordered[:-1]], axis=0)
    return tf.scatter_nd(order[:, None], first, tf.shape(rows, out_type=order.dtype))
