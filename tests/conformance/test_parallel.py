"""Class-parallel heads: training on several replicas is training on one device, for every head."""

import contextlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from components import HEADS

import tfface
from tfface import heads
from tfface.classifier.samplers.uniform import with_batch
from tfface.distribute.collectives import replica_index
from tfface.distribute.partitioned_variable import PartitionedVariable, class_ranges
from tfface.optimizers.row_sgd import RowSGD

CLASSES, DIM = 11, 6  # Divisible by none of 2, 3, 4.

# Options of heads whose defaults would show nothing with so few classes.
OPTIONS = {
    "CircleLoss": {"scale": 64.0},
    "DSoftmaxB": {"rows": 4},
    "DSoftmaxK": {"sampling_rate": 0.5},
    "RandArcFace": {"sampling_rate": 0.5},
    "RandSoftmax": {"sampling_rate": 0.5},
    "SphereFace": {"annealing": 10.0},
    "SubCenterArcFace": {"sub_centers": 2},
}


class FixedSampler:
    """Draws the same classes, however they are partitioned."""

    drawn = np.array([0, 2, 3, 5, 8, 10])
    batch_classes = "included"

    def __call__(self, labels, num_classes, seed, embeddings=None):
        start, stop = (0, CLASSES) if num_classes == CLASSES else class_ranges(CLASSES, self.replicas)[replica_index()]
        drawn = self.drawn[(self.drawn >= start) & (self.drawn < stop)] - start
        drawn, ordered = tf.constant(drawn, tf.int32), tf.sort(tf.cast(labels, tf.int32))
        in_batch = tf.reduce_any(drawn[:, None] == ordered, axis=1)
        return with_batch(drawn, in_batch, ordered, num_classes, self.batch_classes)


def make_model(head, synchronized=True, **options):
    """A small network; one call draws the weights that another with the same head draws."""
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Conv2D(8, 3, use_bias=False),
            keras.layers.BatchNormalization(synchronized=synchronized),
            keras.layers.PReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(DIM),
        ]
    )
    return tfface.FaceModel(encoder, head(), **options)


def train(model, optimizer, steps=10, batch_size=12, examples=43):
    """Trains on batches of 12, 12, 12 and 7; returns what is left of it, as NumPy."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(examples, 4, 4, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, examples)
    model.compile(optimizer=optimizer)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size).repeat()
    history = model.fit(dataset, epochs=steps // 5, steps_per_epoch=5, verbose=0)
    return {
        "loss": np.array(history.history["loss"]) / 10,
        **{f"{number} {variable.path}": variable.numpy() for number, variable in enumerate(model.variables)},
        **{f"optimizer {number}": variable.numpy() for number, variable in enumerate(model.optimizer.variables)},
    }


def assert_same(parallel, dense, tolerance=1e-5):
    for (name, ours), theirs in zip(parallel.items(), dense.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


def sgd():
    return keras.optimizers.SGD(0.005, momentum=0.9, weight_decay=5e-3)


def make_head(name, partition, sampled, replicas):
    # Rows as long as that make a well-conditioned problem: its rounding errors do not grow.
    start = keras.initializers.RandomNormal(stddev=0.5)
    head = getattr(heads, name)(CLASSES, partition=partition, class_weights_initializer=start, **OPTIONS.get(name, {}))
    if sampled:
        sampler = FixedSampler()
        sampler.replicas = replicas
        sampler.batch_classes = "excluded" if name == "DSoftmaxK" else "included"
        head.sampler, head.seed_generator = sampler, keras.random.SeedGenerator(0)
    elif head.sampler:
        head.sampler = None
    return head


_dense = {}


def dense(name, sampled):
    """The reference on one device, trained once for all numbers of replicas."""
    if (name, sampled) not in _dense:
        model = make_model(lambda: make_head(name, None, sampled, 1))
        _dense[name, sampled] = train(model, sgd())
    return _dense[name, sampled]


# Heads that do more with sampled rows than pass them to the engine.
SAMPLED = {"CurricularFace", "DSoftmaxB", "DSoftmaxK", "RandArcFace", "Softmax", "SphereFace2", "SubCenterArcFace"}


# Heads that do what ArcFace does with another u and F: nothing in them knows of replicas.
ALIKE = {"CoCo", "CombinedMargin", "CosFace", "CircleLoss", "DSoftmax", "MagFace", "NormSoftmax", "SphereFace"}


def grid():
    for name, sampled, replicas in itertools.product(HEADS, (False, True), (1, 2, 3, 4)):
        fast = replicas == 2 and name in SAMPLED if sampled else replicas == 3 and name not in SAMPLED | ALIKE
        yield pytest.param(name, sampled, replicas, marks=[] if fast else [pytest.mark.slow])


@pytest.mark.parametrize("name, sampled, replicas", list(grid()))
def test_training_on_replicas_is_training_on_one_device(name, sampled, replicas, mirrored):
    with mirrored(replicas).scope():
        model = make_model(lambda: make_head(name, "replicas", sampled, replicas))
        assert isinstance(model.head.class_weights, PartitionedVariable) == (replicas > 1)
        parallel = train(model, sgd())
    if replicas == 1:
        for (key, ours), theirs in zip(parallel.items(), dense(name, sampled).values(), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=key)
    assert_same(parallel, dense(name, sampled))


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(1e-3),
    "AdamW": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1),
    "Lamb": lambda: keras.optimizers.Lamb(1e-3),
    "Lion": lambda: keras.optimizers.Lion(1e-4),
    "nesterov": lambda: keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(5e-3, 10), momentum=0.9),
    "global_clipnorm": lambda: keras.optimizers.SGD(5e-3, momentum=0.9, global_clipnorm=1.0),
    "clipnorm": lambda: keras.optimizers.SGD(5e-3, momentum=0.9, clipnorm=0.5),
    "clipvalue": lambda: keras.optimizers.SGD(5e-3, momentum=0.9, clipvalue=0.01),
}


# tests/optimizers/test_replica_aware.py has what an optimizer of the library does on replicas.
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in ("AdamW", "schedule") else pytest.mark.slow) for each in OPTIMIZERS]
)
def test_optimizers_of_keras_do_the_same(name, mirrored):
    expected = train(make_model(lambda: heads.CosFace(CLASSES, scale=16.0)), OPTIMIZERS[name]())
    with mirrored(3).scope():
        model = make_model(lambda: heads.CosFace(CLASSES, scale=16.0, partition="replicas"))
        parallel = train(model, OPTIMIZERS[name]())
    assert_same(parallel, expected)


@pytest.mark.parametrize("partition, replicas", [("replicas", 3), ("host", 3), ("host", 1), ("host", None)])
def test_row_sgd_touches_the_rows_of_each_shard(partition, replicas, mirrored):
    def optimizer():
        return RowSGD(0.005, momentum=0.9, weight_decay=5e-3)

    model = make_model(lambda: make_head("RandArcFace", None, True, 1))
    expected = train(model, optimizer())
    with mirrored(replicas).scope() if replicas else contextlib.nullcontext():
        model = make_model(lambda: make_head("RandArcFace", partition, True, replicas or 1))
        assert isinstance(model.head.class_weights, PartitionedVariable)
        parallel = train(model, optimizer())
    assert_same(parallel, expected)


def test_chunks_and_bfloat16_products(mirrored):
    options = {"chunk_size": 2, "dtype": "mixed_bfloat16", "scale": 16.0}
    expected = train(make_model(lambda: heads.ArcFace(CLASSES, **options)), sgd())
    with mirrored(3).scope():
        parallel = train(make_model(lambda: heads.ArcFace(CLASSES, partition="replicas", **options)), sgd())
    # An input that rounds to the other side of a bfloat16 border moves a product by 2^-9 of it.
    assert_same(parallel, expected, tolerance=1e-3)


def test_bfloat16_network(mirrored):
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        expected = train(make_model(lambda: heads.ArcFace(CLASSES, scale=16.0)), sgd())
        with mirrored(2).scope():
            parallel = train(make_model(lambda: heads.ArcFace(CLASSES, scale=16.0, partition="replicas")), sgd())
    finally:
        keras.config.set_dtype_policy("float32")
    # Gradients of the network are rounded to 8 bits before they are summed over the replicas.
    assert_same(parallel, expected, tolerance=2e-2)


def test_batch_normalization_for_each_replica(mirrored):
    """Against a loop on one device that normalises each replica's images by themselves."""
    reference = make_model(lambda: heads.ArcFace(CLASSES, scale=16.0))
    optimizer = keras.optimizers.SGD(0.005, momentum=0.9)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(43, 4, 4, 3)).astype(np.float32)[:36]
    labels = rng.integers(0, CLASSES, 43)[:36]
    for step in range(10):
        batch = slice(step % 3 * 12, step % 3 * 12 + 12)
        with tf.GradientTape() as tape:
            parts = [reference.encoder(part, training=True) for part in tf.split(images[batch], 2)]
            loss = tf.reduce_mean(reference.head(tf.concat(parts, 0), labels[batch], training=True))
        optimizer.apply(tape.gradient(loss, reference.trainable_variables), reference.trainable_variables)
    with mirrored(2).scope():
        model = make_model(lambda: heads.ArcFace(CLASSES, scale=16.0, partition="replicas"), synchronized=False)
        model.compile(optimizer=keras.optimizers.SGD(0.005, momentum=0.9))
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(12).repeat()
    model.fit(dataset, steps_per_epoch=10, verbose=0)
    for ours, theirs in zip(model.trainable_variables, reference.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


def test_sample_weights(mirrored):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(24, 4, 4, 3)).astype(np.float32), rng.integers(0, CLASSES, 24)
    weights = rng.uniform(0, 2, 24).astype(np.float32)

    def trained(partition):
        model = make_model(lambda: heads.ArcFace(CLASSES, scale=16.0, partition=partition))
        model.compile(optimizer=sgd())
        model.fit(images, labels, sample_weight=weights, batch_size=12, epochs=3, shuffle=False, verbose=0)
        return {variable.path: variable.numpy() for variable in model.variables}

    expected = trained(None)
    with mirrored(3).scope():
        assert_same(trained("replicas"), expected)


def test_evaluate_gives_the_loss_over_all_classes(mirrored):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(23, 4, 4, 3)).astype(np.float32), rng.integers(0, CLASSES, 23)

    def loss(partition):
        model = make_model(lambda: heads.RandArcFace(CLASSES, partition=partition))
        model.compile(optimizer="sgd")
        return model.evaluate(images, labels, batch_size=12, verbose=0)

    expected = loss(None)
    with mirrored(4).scope():
        assert loss("replicas") == pytest.approx(expected, rel=1e-6)


def test_uniform_samplers_of_shards_differ_and_train(mirrored):
    with mirrored(4).scope():
        head = heads.RandArcFace(40, sampling_rate=0.5, partition="replicas")
        model = make_model(lambda: head)
        seen = []

        def spy(labels, num_classes, seed, embeddings=None, sampler=head.sampler):
            sample = sampler(labels, num_classes, seed, embeddings)
            seen.append((num_classes, sample.rows.shape[0]))
            return sample

        head.sampler = spy
        before = head.get_class_weights()
        train(model, sgd(), steps=5)
    assert {count for count, _ in seen} == {10}
    moved = np.any(head.get_class_weights() != before, axis=1)
    assert moved.all()
