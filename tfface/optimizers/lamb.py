"""LAMB with weight decay inside its ratio of norms, as in the paper."""

import keras
import tensorflow as tf

from tfface import keras_private
from tfface.distribute import collectives
from tfface.distribute.partitioned_variable import PartitionedVariable


@keras.saving.register_keras_serializable("tfface")
class LAMB(keras.optimizers.Lamb):
    """`keras.optimizers.Lamb` whose weight decay is part of the update that the ratio of norms scales.

    Keras shrinks weights by learning rate · weight decay beforehand and applies the ratio to the rest. Here it is

        u = m̂ / (√v̂ + ε) + λ·w,    w ← w − η · ‖w‖/‖u‖ · u

    as in the paper and in tensorflow-addons. As there, variables that `exclude_from_weight_decay` names have no ratio
    either. The norms of a partitioned variable are those of all its rows.

    Args:
      learning_rate: float or schedule, η.
      beta_1: float in [0, 1), decay of the first moment m.
      beta_2: float in [0, 1), decay of the second moment v.
      epsilon: float, ε, by default that of the paper.
      weight_decay: float, λ; None: none.
      global_clipnorm: float, largest norm of all gradients together; None: no clipping.
      **kwargs: of `keras.optimizers.Lamb`.

    Reference:
      You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020, Algorithm 2.
    """

    decays_in_update = True

    def __init__(
        self,
        learning_rate=0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float | None = None,
        global_clipnorm: float | None = None,
        **kwargs,
    ):
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, weight_decay, global_clipnorm=global_clipnorm, **kwargs
        )

    def update_step(self, gradient, variable, learning_rate):
        included = keras_private.uses_weight_decay(self, variable)
        decay = self.weight_decay if self.weight_decay and included else 0.0
        update_step(self, gradient, variable, learning_rate, decay, adapt=included)

    def _apply_weight_decay(self, variables):
        pass


def update_step(optimizer, gradient, variable, learning_rate, decay=0.0, adapt=True):
    """Makes the step of LAMB.

    Args:
      optimizer: keras.optimizers.Lamb.
      gradient: tensor of the shape of `variable`, or of this replica's rows of it.
      variable: keras.Variable or tf.Variable.
      learning_rate: η.
      decay: λ.
      adapt: bool, scale the update by the ratio of norms.
    """
    weights = variable.value if isinstance(variable, keras.Variable) else variable
    momentum, velocity = keras_private.lamb_slots(optimizer, variable)
    step = tf.cast(optimizer.iterations + 1, weights.dtype)
    momentum.assign_add((gradient - momentum) * (1 - optimizer.beta_1))
    velocity.assign_add((tf.square(gradient) - velocity) * (1 - optimizer.beta_2))
    deviation = tf.sqrt(velocity / (1 - optimizer.beta_2**step)) + optimizer.epsilon
    update = momentum / (1 - optimizer.beta_1**step) / deviation + decay * weights
    if not adapt:
        weights.assign_sub(tf.cast(learning_rate, weights.dtype) * update)
        return
    squares = tf.stack([tf.reduce_sum(tf.square(weights)), tf.reduce_sum(tf.square(update))])
    if isinstance(variable, PartitionedVariable):
        squares = collectives.sum_over_replicas(squares)
    of_weights, of_update = tf.unstack(tf.sqrt(squares))
    ratio = tf.where((of_weights > 0) & (of_update > 0), tf.math.divide_no_nan(of_weights, of_update), 1.0)
    weights.assign_sub(ratio * tf.cast(learning_rate, weights.dtype) * update)
