"""Keras optimizers that update partitioned variables where their rows are; the file of Keras' private hooks.

Keras sums the gradients of every variable over the replicas, and clips before that. Here replicas sum the gradients of
the variables they share; each keeps those of its rows. Clipping looks at the sums, and updates of rows are local.
"""

import functools

import keras
import tensorflow as tf

from tfface.classifier import collectives
from tfface.classifier.weights import PartitionedVariable

# Whose updates of an entry depend on the other entries of its variable.
_NOT_ELEMENTWISE = ("Adafactor", "Muon")


def make_partition_aware(optimizer):
    """Lets an optimizer, before it is built, update partitioned variables; returns it.

    Its class becomes a subclass of the same name, so that it is saved as what it was.

    Args:
      optimizer: keras.optimizers.Optimizer.

    Raises:
      ValueError: the optimizer has been built, or needs what cannot be had for rows in different places.
    """
    if isinstance(optimizer, _PartitionAware):
        return optimizer
    if optimizer.built:
        raise ValueError(f"optimizer {optimizer.name} was built before a model with a partitioned head was compiled.")
    unsupported = {
        "gradient_accumulation_steps": optimizer.gradient_accumulation_steps,
        "use_ema": optimizer.use_ema,
        "loss scaling": isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or optimizer.loss_scale_factor,
        type(optimizer).__name__: type(optimizer).__name__ in _NOT_ELEMENTWISE,
    }
    for option, given in unsupported.items():
        if given:
            raise ValueError(f"a partitioned head cannot be trained with {option}; got optimizer {optimizer.name}.")
    optimizer.__class__ = _extended(type(optimizer))
    return optimizer


@functools.cache
def _extended(optimizer_class):
    bases = (_PartitionAware, optimizer_class)
    return type(optimizer_class.__name__, bases, {"__module__": optimizer_class.__module__})


class _PartitionAware:
    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        if not _is_partitioned(reference_variable):
            return super().add_variable_from_reference(reference_variable, name=name, initializer=initializer)
        name = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        with keras.name_scope(self.name):
            slot = reference_variable.like(keras.initializers.get(initializer), trainable=False, name=name)
        self._track_variable(slot)
        return slot

    def _var_key(self, variable):
        return variable.unique_id if _is_partitioned(variable) else super()._var_key(variable)

    def _backend_apply_gradients(self, grads, trainable_variables):
        self._partitioned = [_is_partitioned(variable) for variable in trainable_variables]
        shared = [grad for grad, partitioned in zip(grads, self._partitioned, strict=True) if not partitioned]
        summed = iter(collectives.sum_over_replicas(shared) if shared else [])
        grads = [
            grad if partitioned else next(summed) for grad, partitioned in zip(grads, self._partitioned, strict=True)
        ]
        super()._backend_apply_gradients(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars

    def _clip_gradients(self, grads):
        if not (self.clipnorm or self.global_clipnorm):
            return super()._clip_gradients(grads)
        squares = [tf.reduce_sum(tf.square(_values(grad))) for grad in grads]
        of_rows = [square for square, partitioned in zip(squares, self._partitioned, strict=True) if partitioned]
        summed = iter(tf.unstack(collectives.sum_over_replicas(tf.stack(of_rows))))
        squares = [
            next(summed) if partitioned else square
            for square, partitioned in zip(squares, self._partitioned, strict=True)
        ]
        if self.clipnorm:
            factors = [self.clipnorm / tf.maximum(tf.sqrt(square), self.clipnorm) for square in squares]
        else:
            norm = tf.sqrt(tf.add_n(squares))
            factors = [self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)] * len(grads)
        return [_scaled(grad, factor) for grad, factor in zip(grads, factors, strict=True)]

    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay([variable for variable in variables if not _is_partitioned(variable)])
        for variable in filter(_is_partitioned, variables):
            if self.weight_decay is not None and self._use_weight_decay(variable):
                rows = variable.value
                rows.assign_sub(rows * (self.weight_decay * tf.cast(self.learning_rate, rows.dtype)))

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        pairs = list(zip(grads, trainable_variables, strict=True))
        shared = [(grad, variable) for grad, variable in pairs if not _is_partitioned(variable)]
        if shared:
            super()._backend_update_step(*zip(*shared, strict=True), learning_rate)
        for grad, variable in pairs:
            if _is_partitioned(variable):
                step = self._lamb_step if isinstance(self, keras.optimizers.Lamb) else self.update_step
                step(grad, variable, learning_rate)

    def _lamb_step(self, gradient, variable, learning_rate):
        """LAMB, whose step length depends on the norm of all rows; as `keras.optimizers.Lamb` otherwise."""
        step = tf.cast(self.iterations + 1, tf.float32)
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        momentum.assign_add((gradient - momentum) * (1 - self.beta_1))
        velocity.assign_add((tf.square(gradient) - velocity) * (1 - self.beta_2))
        deviation = tf.sqrt(velocity / (1 - self.beta_2**step)) + self.epsilon
        update = momentum / (1 - self.beta_1**step) / deviation
        squares = tf.stack([tf.reduce_sum(tf.square(variable.value)), tf.reduce_sum(tf.square(update))])
        of_rows, of_update = tf.unstack(tf.sqrt(collectives.sum_over_replicas(squares)))
        ratio = tf.where((of_rows > 0) & (of_update > 0), tf.math.divide_no_nan(of_rows, of_update), 1.0)
        variable.value.assign_sub(ratio * learning_rate * update)


def _is_partitioned(variable):
    return isinstance(variable, PartitionedVariable)


def _values(gradient):
    # Keras' norms are of dense gradients: repeated rows add up before they are squared.
    return tf.convert_to_tensor(gradient)


def _scaled(gradient, factor):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor
