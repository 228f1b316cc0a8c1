"""XLA, where this TensorFlow has it: builds for macOS, for example, have no compiler for their devices."""

import functools
import warnings
from collections.abc import Callable

import tensorflow as tf


@functools.cache
def available() -> bool:
    """Returns whether XLA compiles for the first device of this process; warns once if it does not."""
    try:
        # Outside of the graph or the replica that is being traced.
        with tf.init_scope():
            tf.function(tf.negative, jit_compile=True)(tf.zeros([1]))
    except tf.errors.OpError as error:
        warnings.warn(
            f"this TensorFlow has no XLA for its device ({type(error).__name__}): training steps take more time and "
            "memory.",
            stacklevel=2,
        )
        return False
    return True


def compiled(function: Callable) -> Callable:
    """Makes a `tf.function` that XLA compiles if it is available."""
    functions = {in_xla: tf.function(function, jit_compile=in_xla, autograph=False) for in_xla in (True, False)}

    @functools.wraps(function)
    def call(*args):
        return functions[available()](*args)

    return call
