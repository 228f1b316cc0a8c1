"""SGD that updates only rows with a gradient, with three forms of weight decay."""

import keras
import tensorflow as tf

from tfface import keras_private
from tfface.checks import check_option
from tfface.distribute import xla

DECAY_FORMS = ("decoupled", "coupled", "constant")

# Numbers in a variable from which XLA repays its compilation: its update with weight decay makes no temporary arrays.
_XLA_FROM_SIZE = 1 << 22


@keras.saving.register_keras_serializable("tfface")
class RowSGD(keras.optimizers.SGD):
    """SGD with momentum for sampled heads: rows of class weights without a gradient stay as they are.

    Keras' own SGD lets the momentum of every row decay and move its weights at every step, which for a million classes
    costs as much as the full loss. Here, a step reads and writes weights and momentum of the sampled rows alone, and
    decays those. Variables with ordinary gradients get the update of Keras' SGD, without its temporary arrays.

    Weight decay λ at learning rate η has one of three forms:

    * "decoupled": w ← w − η·λ·w, as in Keras.
    * "coupled": λ·w is added to the gradient and enters the momentum, as in MXNet and PyTorch, and so in published
      recipes. In the long run it is as strong as "decoupled" with λ/(1 − momentum).
    * "constant": w ← w − λ·w whatever the learning rate, as in `SGDW` of tensorflow-addons.

    Args:
      learning_rate: as of `keras.optimizers.SGD`.
      momentum: as of `keras.optimizers.SGD`.
      nesterov: bool, must be False.
      weight_decay: float, λ; None: none. `exclude_from_weight_decay` exempts variables.
      decay_form: one of `DECAY_FORMS`.
      name: str, as of `keras.optimizers.SGD`.
      **kwargs: of `keras.optimizers.SGD`.

    Raises:
      ValueError: `nesterov` is set, or `decay_form` is unknown.

    Reference:
      Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    decays_in_update = True

    def __init__(
        self,
        learning_rate=0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        decay_form: str = "decoupled",
        name: str = "SGD",
        **kwargs,
    ):
        if nesterov:
            raise ValueError("RowSGD has no Nesterov momentum, got nesterov=True.")
        check_option("decay_form", decay_form, DECAY_FORMS)
        super().__init__(learning_rate, momentum, nesterov, weight_decay=weight_decay, name=name, **kwargs)
        self.decay_form = decay_form

    def _apply_weight_decay(self, variables):
        """Does nothing: `update_step` decays the rows that it updates."""

    def update_step(self, gradient, variable, learning_rate):
        weights = variable.value if isinstance(variable, keras.Variable) else variable
        momentum = self.momentums[keras_private.variable_index(self, variable)].value if self.momentum else None
        rate = tf.cast(learning_rate, weights.dtype)
        decay = self.weight_decay if self.weight_decay and keras_private.uses_weight_decay(self, variable) else 0.0
        # Multiplicative shrinkage, and the L2 term added to the gradient.
        shrinkage = {"decoupled": rate * decay, "constant": tf.constant(decay, weights.dtype)}.get(self.decay_form, 0.0)
        coupling = decay if self.decay_form == "coupled" else 0.0
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(weights, momentum, gradient, rate, shrinkage, coupling)
            return
        gradient = tf.cast(gradient, weights.dtype)
        large = weights.shape.num_elements() >= _XLA_FROM_SIZE
        if momentum is not None and decay and large and xla.available():
            _decay_and_update(
                weights.handle, momentum.handle, gradient, rate, shrinkage, coupling, tf.constant(self.momentum)
            )
            return
        if coupling:
            gradient += coupling * weights
        elif decay:
            weights.assign_sub(weights * shrinkage)
        if momentum is None:
            weights.assign_sub(rate * gradient)
        else:
            # Fused, so that no fourth array of the variable's size is made.
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weights.handle, accum=momentum.handle, lr=rate, grad=gradient, momentum=self.momentum
            )

    def _update_rows(self, weights, momentum, gradient, rate, shrinkage, coupling):
        rows = gradient.indices
        # Rows may repeat: the gradients of all occurrences add up, momentum and decay count at the first.
        # Rows of any rank: those of the biases of classes are scalars.
        ones = [1] * (len(weights.shape) - 1)
        first = tf.reshape(_first_occurrences(rows, weights.dtype), [-1, *ones])
        of_momentum = _rows_of(momentum, rows) if self.momentum else tf.zeros([1, *ones])
        of_weights = _rows_of(weights, rows) if self.weight_decay else tf.zeros([1, *ones])
        change, change_of_momentum = _changes(
            gradient.values, rate, first, of_momentum, of_weights, self.momentum, shrinkage, coupling
        )
        if self.momentum:
            momentum.scatter_add(tf.IndexedSlices(change_of_momentum, rows))
        weights.scatter_add(tf.IndexedSlices(change, rows))

    def get_config(self):
        return {**super().get_config(), "decay_form": self.decay_form}


@xla.compiled
def _decay_and_update(weights, momentum, gradient, rate, shrinkage, coupling, factor):
    """Updates two variables, given by their handles, in one pass over them and the gradient."""
    before, velocity = (tf.raw_ops.ReadVariableOp(resource=each, dtype=gradient.dtype) for each in (weights, momentum))
    velocity = factor * velocity - rate * (gradient + coupling * before)
    tf.raw_ops.AssignVariableOp(resource=momentum, value=velocity)
    tf.raw_ops.AssignVariableOp(resource=weights, value=before - shrinkage * before + velocity)


@xla.compiled
def _changes(gradient, rate, first, of_momentum, of_weights, momentum, shrinkage, coupling):
    """Returns the changes of rows of weights and of momentum; compiled into one pass over the rows."""
    step = -rate * (gradient + first * coupling * of_weights)
    change = step + first * (momentum * of_momentum - shrinkage * of_weights)
    return change, step + first * (momentum - 1.0) * of_momentum


def _rows_of(variable, rows):
    """Rows of a variable, read without reading the rest."""
    return tf.raw_ops.ResourceGather(resource=variable.handle, indices=rows, dtype=variable.dtype)


def _first_occurrences(rows, dtype):
    """Returns [n] of this dtype: 1 where each of rows [n] appears for the first time, 0 elsewhere."""
    order = tf.argsort(rows, stable=True)
    ordered = tf.gather(rows, order)
    first = tf.concat([[True], ordered[1:] != ordered[:-1]], axis=0)
    # Not bool, which has no kernel on GPUs.
    return tf.scatter_nd(order[:, None], tf.cast(first, dtype), tf.shape(rows, out_type=order.dtype))
