"""The moving average of a network's weights, as a second network."""

import keras
import tensorflow as tf


def clone_for_average(encoder: keras.Model) -> keras.Model:
    """Returns a network like `encoder` with variables of its own, which start with the encoder's values."""
    average = keras.models.clone_model(encoder)
    average.set_weights(encoder.get_weights())
    average.trainable = False
    return average


def update_average(average: keras.Model, encoder: keras.Model, momentum: float, step: keras.Variable) -> None:
    """Moves the weights of `average` towards those of `encoder`, in a replica, after a training step.

    a ← m·a + (1 − m)·w with m = min(momentum, (1 + step)/(10 + step)), so that the start is forgotten soon. Statistics
    of batch normalisation are averaged like weights.

    Args:
      average: keras.Model of `clone_for_average`.
      encoder: keras.Model.
      momentum: float in [0, 1).
      step: keras.Variable, number of completed steps, at least 1.
    """
    pairs = [
        (old.value, new.value)
        for old, new in zip(average.variables, encoder.variables, strict=True)
        if old.dtype.startswith(("float", "bfloat"))
    ]

    def update(strategy):
        steps = tf.cast(step.value, tf.float32)
        weight = 1.0 - tf.minimum(momentum, (1.0 + steps) / (10.0 + steps))
        for old, new in pairs:
            strategy.extended.update(old, _move, args=(new, weight), group=False)

    tf.distribute.get_replica_context().merge_call(update)


def _move(old, new, weight):
    old.assign_add((tf.convert_to_tensor(new) - old) * tf.cast(weight, old.dtype))
