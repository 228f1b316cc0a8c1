"""Keras optimizers that know of all replicas and of partitioned variables.

Keras clips the gradients of each replica before it sums them, looks for infinities on the first replica only, and sums
the gradients of every variable. Here, replicas sum the gradients of the variables that they share, and each keeps the
gradients of its own rows. Clipping looks at the sums, loss scaling looks at all replicas, and updates of rows are
local. Gradients of sampled rows are never made dense.
"""

import functools

import keras
import tensorflow as tf

from tfface import keras_private
from tfface.distribute import collectives
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.optimizers import lamb

# Optimizers whose update is not elementwise.
_NOT_ELEMENTWISE = ("Adafactor", "Muon")


def make_replica_aware(optimizer: keras.optimizers.Optimizer, partitioned: bool = False) -> keras.optimizers.Optimizer:
    """Makes an optimizer train on several replicas and update partitioned variables; returns it.

    Its class becomes a subclass of the same name, so that it is saved under its own name.

    Args:
      optimizer: keras.optimizers.Optimizer, or a LossScaleOptimizer around one.
      partitioned: bool, whether it will update partitioned variables.

    Raises:
      ValueError: an option of the optimizer does not work with replicas or partitioned variables, or it has been built
        before it could know of partitioned variables.
    """
    if isinstance(optimizer, _KnowsVariables):
        return optimizer
    if partitioned and optimizer.built:
        raise ValueError(f"optimizer {optimizer.name} was built before a model with a partitioned head was compiled.")
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        make_replica_aware(optimizer.inner_optimizer, partitioned)
        optimizer.__class__ = _extended(_LossScale, type(optimizer))  # type: ignore[arg-type]
        return optimizer
    several = collectives.replica_count() > 1
    unsupported = {
        "gradient_accumulation_steps (FaceModel has micro_batches)": optimizer.gradient_accumulation_steps,
        "use_ema (FaceModel has ema_momentum)": optimizer.use_ema,
        type(optimizer).__name__: partitioned and type(optimizer).__name__ in _NOT_ELEMENTWISE,
    }
    for option, given in unsupported.items():
        if given and (several or partitioned):
            trained = "a partitioned head cannot be trained" if partitioned else "several replicas cannot train"
            raise ValueError(f"{trained} with {option}; got optimizer {optimizer.name}.")
    optimizer.__class__ = _extended(_ReplicaAware, type(optimizer))  # type: ignore[arg-type]
    return optimizer


@functools.cache
def _extended(mixin, optimizer_class):
    return type(optimizer_class.__name__, (mixin, optimizer_class), {"__module__": optimizer_class.__module__})


class _KnowsVariables:
    def _var_key(self, variable):
        return variable.unique_id if _is_partitioned(variable) else super()._var_key(variable)


class _LossScale(_KnowsVariables):
    def build(self, var_list):
        # Keras would make its counters again.
        if not self.built:
            super().build(var_list)

    def check_finite(self, grads):
        # `getattr`, because whole gradients of sampled rows would be made dense.
        finite = [tf.reduce_all(tf.math.is_finite(getattr(grad, "values", grad))) for grad in grads if grad is not None]
        unsound = tf.cast(tf.logical_not(tf.reduce_all(finite)), tf.float32)
        return tf.equal(collectives.sum_over_replicas(unsound), 0.0)


class _ReplicaAware(_KnowsVariables):
    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        if not _is_partitioned(reference_variable):
            return super().add_variable_from_reference(reference_variable, name=name, initializer=initializer)
        name = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        with keras.name_scope(self.name):
            slot = reference_variable.like(keras.initializers.get(initializer), trainable=False, name=name)
        keras_private.track_slot(self, slot)
        return slot

    def _backend_apply_gradients(self, grads, trainable_variables):
        self._partitioned = [_is_partitioned(variable) for variable in trainable_variables]
        grads = _summed(grads, [not partitioned for partitioned in self._partitioned])
        super()._backend_apply_gradients(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars

    def _clip_gradients(self, grads):
        if not (self.clipnorm or self.global_clipnorm):
            return super()._clip_gradients(grads)
        squares = _summed([_squared_norm(grad) for grad in grads], self._partitioned)
        if self.clipnorm:
            factors = [self.clipnorm / tf.maximum(tf.sqrt(square), self.clipnorm) for square in squares]
        else:
            norm = tf.sqrt(tf.add_n(squares))
            factors = [self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)] * len(grads)
        return [_scaled(grad, factor) for grad, factor in zip(grads, factors, strict=True)]

    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay([variable for variable in variables if not _is_partitioned(variable)])
        if getattr(self, "decays_in_update", False):
            return
        for variable in filter(_is_partitioned, variables):
            if self.weight_decay is not None and keras_private.uses_weight_decay(self, variable):
                rows = variable.value
                rows.assign_sub(rows * (self.weight_decay * tf.cast(self.learning_rate, rows.dtype)))

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        pairs = list(zip(grads, trainable_variables, strict=True))
        shared = [(grad, variable) for grad, variable in pairs if not _is_partitioned(variable)]
        if shared:
            super()._backend_update_step(*zip(*shared, strict=True), learning_rate)
        # Keras' own LAMB would compute the norms over the rows of one replica.
        of_keras = isinstance(self, keras.optimizers.Lamb) and not isinstance(self, lamb.LAMB)
        step = functools.partial(lamb.update_step, self) if of_keras else self.update_step
        for grad, variable in pairs:
            if _is_partitioned(variable):
                step(grad, variable, learning_rate)


def _is_partitioned(variable):
    return isinstance(variable, PartitionedVariable)


def _summed(values, which):
    """Returns the values; those that `which` marks are summed over the replicas."""
    marked = [value for value, mark in zip(values, which, strict=True) if mark]
    sums = iter(collectives.sum_over_replicas(marked) if marked else [])
    return [next(sums) if mark else value for value, mark in zip(values, which, strict=True)]


def _squared_norm(gradient):
    if isinstance(gradient, tf.IndexedSlices):
        # Repeated rows add up before they are squared.
        rows, places = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.reduce_sum(tf.square(gradient))


def _scaled(gradient, factor):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor
