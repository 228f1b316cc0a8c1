"""SGD that touches only the rows a step has gradients for."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfface")
class RowSGD(keras.optimizers.SGD):
    """SGD with momentum for sampled heads: rows of class weights without a gradient stay as they are.

    Keras' own SGD lets the momentum of every row decay and move its weights at every step, which for a million classes
    costs as much as the full loss. Here weights, momentum and weight decay of the sampled rows alone are read and
    written. Variables with ordinary gradients get the update of Keras' SGD, without its temporary arrays.

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
        weights = variable.value if isinstance(variable, keras.Variable) else variable
        momentum = self.momentums[self._get_variable_index(variable)].value if self.momentum else None
        rate = tf.cast(learning_rate, weights.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(weights, momentum, gradient, rate)
        elif momentum is None:
            weights.assign_sub(rate * tf.cast(gradient, weights.dtype))
        else:
            # Fused, so that no array of the variable's size is made beside the three that there are.
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weights.handle,
                accum=momentum.handle,
                lr=rate,
                grad=tf.cast(gradient, weights.dtype),
                momentum=self.momentum,
            )

    def _update_rows(self, weights, momentum, gradient, rate):
        rows = gradient.indices
        # Rows may repeat: gradients of all occurrences add up, what the row itself brings counts at the first.
        first = tf.cast(_first_occurrences(rows), weights.dtype)[:, None]
        of_momentum = _rows_of(momentum, rows) if self.momentum else tf.zeros([1, 1])
        of_weights = _rows_of(weights, rows) if self.weight_decay else tf.zeros([1, 1])
        change, change_of_momentum = _changes(
            gradient.values, rate, first, of_momentum, of_weights, self.momentum, self.weight_decay or 0.0
        )
        if self.momentum:
            momentum.scatter_add(tf.IndexedSlices(change_of_momentum, rows))
        weights.scatter_add(tf.IndexedSlices(change, rows))


@tf.function(jit_compile=True)
def _changes(gradient, rate, first, of_momentum, of_weights, momentum, weight_decay):
    """What to add to rows of weights and of momentum; compiled into one pass over the rows."""
    step = -rate * gradient
    change = step + first * (momentum * of_momentum - rate * weight_decay * of_weights)
    return change, step + first * (momentum - 1.0) * of_momentum


def _rows_of(variable, rows):
    """Rows of a variable, read without reading the rest."""
    return tf.raw_ops.ResourceGather(resource=variable.handle, indices=rows, dtype=variable.dtype)


def _first_occurrences(rows):
    """Returns bool [n]: whether each of rows [n] appears for the first time."""
    order = tf.argsort(rows, stable=True)
    ordered = tf.gather(rows, order)
    first = tf.concat([[True], ordered[1:] != ordered[:-1]], axis=0)
    return tf.scatter_nd(order[:, None], first, tf.shape(rows, out_type=order.dtype))
