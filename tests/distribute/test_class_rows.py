"""Rows of classes: plain and partitioned variables answer alike, from wherever the rows are."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface.distribute import collectives
from tfface.distribute.class_rows import ClassRows, shards
from tfface.distribute.partitioned_variable import PartitionedVariable

CLASSES, SUB_CENTERS, DIM = 7, 2, 3
VALUES = np.arange(CLASSES * SUB_CENTERS * DIM, dtype=np.float32).reshape(-1, DIM)


def variable(partitioned):
    def initializer(shape, dtype=None):
        return tf.constant(VALUES, dtype)

    if partitioned:
        return PartitionedVariable(initializer, VALUES.shape, CLASSES)
    return keras.Variable(initializer, shape=VALUES.shape, dtype="float32")


def in_replicas(strategy, function):
    return [np.array(each) for each in strategy.experimental_local_results(tf.function(strategy.run)(function))]


@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize("replicas", [1, 3])
def test_every_replica_gets_the_rows_that_it_asks_for(replicas, partitioned, mirrored):
    # As many as the replica's index, and one; some are asked for twice, by one replica or by two.
    asked = [[13], [0, 13], [5, 5, 8]][:replicas]
    strategy = mirrored(replicas)
    with strategy.scope():
        rows = ClassRows(variable(partitioned), CLASSES)
        found = in_replicas(strategy, lambda: rows.fetch(tf.constant(asked[collectives.replica_index()])))
    for got, numbers in zip(found, asked, strict=True):
        np.testing.assert_array_equal(got, VALUES[numbers])


@pytest.mark.parametrize("partitioned", [False, True])
def test_local_rows_are_those_of_the_labels(partitioned, mirrored):
    strategy, labels = mirrored(3), np.array([0, 6, 3, 1, 3])
    with strategy.scope():
        rows = ClassRows(variable(partitioned), CLASSES)

        def own():
            local = rows.local(tf.constant(labels), elsewhere=0)
            taken = tf.reshape(rows.take_local(local), [-1, SUB_CENTERS, DIM])
            by_class = tf.gather(rows.by_class(), local)
            # Labels of other replicas have arbitrary rows, and no replica has the labels of another.
            here = rows.here(tf.constant(labels))[:, None, None]
            return rows.sum_over_shards(tf.where(here, tf.stack([taken, by_class]), 0.0))

        found = in_replicas(strategy, own)
    for taken, by_class in found:
        np.testing.assert_array_equal(taken, VALUES.reshape(CLASSES, SUB_CENTERS, DIM)[labels])
        np.testing.assert_array_equal(by_class, taken)


@pytest.mark.parametrize("partitioned", [False, True])
def test_outside_of_replicas_all_rows_are_here(partitioned, mirrored):
    with mirrored(3).scope():
        rows = ClassRows(variable(partitioned), CLASSES)
        starts, values = zip(*((start, shard.numpy()) for start, shard in shards(rows.variable)), strict=True)
        assert not rows.partial and rows.classes == (0, CLASSES)
        np.testing.assert_array_equal(rows.by_class(), VALUES.reshape(CLASSES, SUB_CENTERS, DIM))
    np.testing.assert_array_equal(np.concatenate(values), VALUES)
    assert starts == ((0, 4, 8) if partitioned else (0,))
    assert [start * SUB_CENTERS for start, _ in rows.ranges] == list(starts)
    np.testing.assert_array_equal(rows.numbers(tf.constant([5, 0])), [[10, 11], [0, 1]])
    np.testing.assert_array_equal(rows.classes_of(tf.constant([10, 11, 0])), [5, 5, 0])


def test_the_gradient_of_local_rows_is_sparse():
    rows = ClassRows(variable(False), CLASSES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rows.take_local(tf.constant([4, 1])))
    gradient = tape.gradient(loss, rows.variable.value)
    np.testing.assert_array_equal(gradient.indices, [8, 9, 2, 3])


BENCHMARKS = str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks")

# In a process of its own: TensorFlow's collective operations allow one strategy each.
TRAFFIC = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfface import heads
sys.path.insert(0, sys.argv[1])
from traffic import messages

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    head = heads.BroadFace(heads.SubCenterArcFace(50, sub_centers=2, partition="replicas"), queue_size=16)
    head.build((None, 6))
    run = tf.function(lambda: strategy.run(head.head.class_rows.fetch, (tf.range(32),)))
    asking = messages(run.get_concrete_function().graph, 1)
    step = tf.function(lambda: strategy.run(head.call, (tf.ones([8, 6]), tf.zeros([8], tf.int32), True)))
    stepping = messages(step.get_concrete_function().graph, 1)
for found in (asking, stepping):
    print(*(message.kind.removeprefix("Collective")[:6] for message in found))
"""


def test_rows_take_a_question_and_an_answer():
    """TensorFlow sends a message about the shape before each gathering."""
    done = subprocess.run([sys.executable, "-c", TRAFFIC, BENCHMARKS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    asking, stepping = done.stdout.splitlines()
    assert asking == "Gather Gather Reduce"
    # Rows, the sizes of batch and queue, and the gathering and the sums of each of the two.
    assert stepping == "Gather Gather Reduce Reduce" + " Gather Gather Reduce" * 2
