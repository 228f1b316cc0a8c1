"""Partitioned heads: the rows of each replica, the messages of a step, and errors."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.classifier.samplers.hash_forest import HashForestSampler
from tfface.distribute.partitioned_variable import PartitionedVariable, class_ranges
from tfface.optimizers.replica_aware import make_replica_aware
from tfface.training.callbacks.rebuild_forest import RebuildForest


@pytest.mark.parametrize("num_classes, shards", [(4, 4), (11, 3), (10, 4), (1_000_003, 7)])
def test_classes_are_divided_evenly_without_a_gap(num_classes, shards):
    starts, stops = np.transpose(class_ranges(num_classes, shards))
    assert len(starts) == shards
    assert starts[0] == 0 and stops[-1] == num_classes
    # No gap and no overlap between any two neighbours.
    np.testing.assert_array_equal(starts[1:], stops[:-1])
    assert set(stops - starts) <= {num_classes // shards, -(-num_classes // shards)}


def small_model(head):
    return tfface.FaceModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)]), head)


def test_each_device_holds_its_rows_of_weights_and_slots(mirrored):
    with mirrored(3).scope():
        model = small_model(heads.SubCenterArcFace(11, sub_centers=2, partition="replicas"))
        model.compile(optimizer=keras.optimizers.Adam())
        model.optimizer.build(model.trainable_variables)
    partitioned = [model.head.class_weights, *model.optimizer.variables]
    partitioned = [variable for variable in partitioned if isinstance(variable, PartitionedVariable)]
    assert len(partitioned) == 3
    for variable in partitioned:
        assert variable.shape == (22, 6)
        shards = [(start, shard.shape[0], shard.device[-5:]) for start, shard in variable.shards()]
        assert shards == [(0, 6, "CPU:0"), (6, 8, "CPU:1"), (14, 8, "CPU:2")]
    assert model.head.count_params() == 22 * 6


def test_reading_and_assigning_sees_all_rows(mirrored):
    with mirrored(4).scope():
        head = heads.ArcFace(11, partition="replicas")
        head.build((None, 6))
    rows = np.arange(66, dtype=np.float32).reshape(11, 6)
    head.set_class_weights(rows)
    np.testing.assert_array_equal(head.get_class_weights(), rows)
    np.testing.assert_array_equal([shard.numpy()[0, 0] for _, shard in head.class_weights.shards()], [0, 12, 30, 48])
    np.testing.assert_allclose(head.logits(rows[:2]).shape, (2, 11))


def test_keras_files_move_between_numbers_of_replicas(mirrored, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 4)).astype(np.float32), rng.integers(0, 11, 24)

    def trained(strategy):
        with strategy.scope():
            model = small_model(heads.SphereFace2(11, partition="replicas"))
            model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9))
        model.fit(x, y, batch_size=12, verbose=0)
        return model

    model = trained(mirrored(4))
    model.save(tmp_path / "model.keras")
    for replicas in (1, 3):
        with mirrored(replicas).scope():
            again = keras.models.load_model(tmp_path / "model.keras")
        assert type(again.optimizer).__name__ == "SGD"
        variables = model.variables + model.optimizer.variables
        for ours, theirs in zip(again.variables + again.optimizer.variables, variables, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        again.fit(x, y, batch_size=12, verbose=0)


BENCHMARKS = str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks")

# In a process of its own: TensorFlow's collective operations allow one strategy each.
TRAFFIC = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
from tfface import heads
sys.path.insert(0, sys.argv[1])
from traffic import messages

strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(4)])

def ancestors(tensor):
    found, waiting = set(), [tensor.op]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting.extend(value.op for value in operation.inputs)
    return {operation.type for operation in found}

for name in ("ArcFace", "SphereFace2"):
    for classes in (50, 5000):
        with strategy.scope():
            head = getattr(heads, name)(classes, partition="replicas")
            head.build((None, 6))

        def step(x, y):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(head(x, y, training=True)) / 32
            return tape.gradient(loss, [x, head.class_weights])

        run = tf.function(lambda: strategy.run(step, (tf.ones([8, 6]), tf.zeros([8], tf.int32))))
        with strategy.scope():
            function = run.get_concrete_function()
        sent = [(message.kind.removeprefix("Collective")[:6], message.bytes) for message in messages(function.graph, 1)]
        by_weights = strategy.experimental_local_results(function.structured_outputs[1])[1]
        print(name, sent, "CollectiveReduceV2" in ancestors(by_weights))
"""


def test_a_step_sends_a_batch_a_few_numbers_and_a_gradient():
    done = subprocess.run([sys.executable, "-c", TRAFFIC, BENCHMARKS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    # The gathered batch has TensorFlow's own message about its shape before it; B = 32, d = 6.
    sent = [("Gather", 8), ("Gather", None), ("Reduce", 16 * 32), ("Reduce", 4 * 32 * 6)]
    expected = [f"ArcFace {sent} True"] * 2 + [f"SphereFace2 {sent} False"] * 2
    assert done.stdout.splitlines() == expected


def test_too_few_classes(mirrored):
    with mirrored(4).scope(), pytest.raises(ValueError, match="3 classes cannot be divided among 4 replicas"):
        small_model(heads.ArcFace(3, partition="replicas"))


def test_unknown_partition():
    with pytest.raises(ValueError, match="partition.*'rows'"):
        heads.ArcFace(10, partition="rows")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: keras.optimizers.SGD(gradient_accumulation_steps=2), "gradient_accumulation_steps"),
        (lambda: keras.optimizers.SGD(use_ema=True), "use_ema"),
        (lambda: keras.optimizers.Adafactor(), "Adafactor"),
    ],
)
def test_optimizers_that_cannot_update_shards(make, message, mirrored):
    with mirrored(2).scope():
        model = small_model(heads.ArcFace(10, partition="replicas"))
        with pytest.raises(ValueError, match=f"cannot be trained with {message}"):
            model.compile(optimizer=make())


def test_an_optimizer_that_was_built_before(mirrored):
    with mirrored(2).scope():
        optimizer = keras.optimizers.SGD()
        optimizer.build([keras.Variable(np.zeros(3))])
        with pytest.raises(ValueError, match="was built before"):
            make_replica_aware(optimizer, partitioned=True)


def test_model_and_optimizer_of_two_strategies(mirrored):
    with mirrored(2).scope():
        model = small_model(heads.ArcFace(10, partition="replicas"))
    with pytest.raises(ValueError, match="made under DefaultDistributionStrategy|made under _Default.*Mirrored"):
        model.compile(optimizer=keras.optimizers.SGD())


def test_rows_of_another_strategy(mirrored):
    with mirrored(2).scope():
        head = heads.ArcFace(10, partition="replicas")
        head.build((None, 4))
    other = mirrored(3)
    with other.scope(), pytest.raises(ValueError, match="divided among the 2 replicas of another strategy"):
        other.run(lambda: head(tf.ones([2, 4]), tf.zeros([2], tf.int32)))


def test_a_replica_without_examples(mirrored):
    with mirrored(4).scope():
        model = small_model(heads.ArcFace(10, partition="replicas"))
        model.compile(optimizer=keras.optimizers.SGD())
    # tests/training/test_uneven_batches.py compares such a step with that of one device.
    losses = model.fit(np.ones((3, 4), np.float32), np.zeros(3, np.int32), batch_size=8, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))


def test_losses_weighted_after_the_head(mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        head = heads.ArcFace(10, partition="replicas")
        head.build((None, 4))

    def step():
        x = tf.ones([2, 4])
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(head(x, tf.zeros([2], tf.int32)) * [1.0, 2.0])
        return tape.gradient(loss, x)

    with strategy.scope(), pytest.raises(tf.errors.InvalidArgumentError, match="must all have the same weight"):
        tf.function(lambda: strategy.run(step))()


def test_each_shard_has_its_own_forest(mirrored):
    """With rate 1 every class is drawn, so that training is that without a sampler: the forests hold their classes."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 4)).astype(np.float32), rng.integers(0, 50, 24)

    def trained(sampler):
        with mirrored(3).scope():
            model = small_model(heads.ArcFace(50, scale=16.0, sampler=sampler, partition="replicas"))
            model.compile(optimizer=keras.optimizers.SGD(0.001))
        start = np.random.default_rng(1)
        for variable in model.trainable_variables:
            variable.assign(start.normal(size=variable.shape).astype(np.float32))
        callbacks = [RebuildForest(model.head, every=2)] if sampler else []
        model.fit(x, y, batch_size=12, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
        return model

    forest = trained(HashForestSampler(1.0, leaf_size=4))
    np.testing.assert_allclose(forest.head.get_class_weights(), trained(None).head.get_class_weights(), atol=1e-6)
    for (start, stop), sampler in forest.head.samplers:
        found = sorted(set(sampler.leaves.numpy().ravel().tolist()) - {-1})
        assert found == list(range(stop - start))
