"""Steps that several benchmarks measure, and their traces."""

import pathlib
import tempfile
import time

import tensorflow as tf


def network_step(network, optimizer, images):
    """Returns a function that trains a Keras network by one step on the mean square of its embeddings."""
    optimizer.build(network.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(images, training=True)))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return loss

    return step


def traced(step, count):
    """Makes steps under TensorFlow's profiler; returns their seconds and the trace, an `XSpace`."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        start = time.perf_counter()
        for _ in range(count):
            step()
        seconds = time.perf_counter() - start
        tf.profiler.experimental.stop()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        return seconds, xplane_pb2.XSpace.FromString(path.read_bytes())
