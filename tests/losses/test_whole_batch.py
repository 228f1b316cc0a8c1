"""Triplets and pairs of the batches of all replicas: replicas give the losses and the gradients of one device."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads, losses

DIM, CLASSES = 5, 4
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 3, 2, 2, 0, 1])
X = np.random.default_rng(0).normal(size=(len(LABELS), DIM)).astype(np.float32)
# Uneven parts, such that triplets and pairs lie between replicas.
PARTS = {1: [12], 2: [7, 5], 3: [6, 1, 5]}
UPSTREAM = np.linspace(0.5, 1.5, len(LABELS), dtype=np.float32)  # As sample weights would be.

LOSSES = {
    f"triplet-{mining}-{distance}": lambda mining=mining, distance=distance: losses.TripletLoss(0.3, mining, distance)
    for mining, distance in itertools.product(("batch_hard", "semi_hard", "all"), ("angular", "squared_euclidean"))
}
LOSSES["triplet-soft"] = lambda: losses.TripletLoss(soft=True)
for distance in ("angular", "euclidean"):
    LOSSES[f"contrastive-{distance}"] = lambda distance=distance: losses.ContrastiveLoss(2.0, "all", distance)


def values_and_gradients(layer, x, labels, upstream):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = layer(x, labels)
        total = tf.reduce_sum(value * upstream)
    return value, tape.gradient(total, x)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_replicas_give_the_losses_and_gradients_of_one_device(name, replicas, mirrored):
    layer = LOSSES[name]()
    expected = values_and_gradients(layer, tf.constant(X), tf.constant(LABELS), UPSTREAM)
    strategy = mirrored(replicas)
    ends = np.cumsum(PARTS[replicas])

    def parts(array):
        pieces = np.split(array, ends[:-1])
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(pieces[context.replica_id_in_sync_group])
        )

    def of_replica(*arrays):
        # tf.distribute gives a static size only where all replicas have it.
        unknown = [tf.compat.v1.placeholder_with_default(array, [None, *array.shape[1:]]) for array in arrays]
        return values_and_gradients(layer, *unknown)

    @tf.function
    def step(*arrays):
        return strategy.run(of_replica, args=arrays)

    got = step(parts(X), parts(LABELS), parts(UPSTREAM))
    for ours, theirs in zip(got, expected, strict=True):
        ours = np.concatenate([each.numpy() for each in strategy.experimental_local_results(ours)])
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert np.abs(expected[1]).max() > 0.1


def train(loss):
    """Five steps on batches of 12, 12, 7, ...; returns the weights and the losses."""
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(DIM)])
    model = tfface.FaceModel(encoder, heads.HeadWithLosses(heads.CosFace(CLASSES, scale=8.0), [(1.0, loss())]))
    model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(31, 4, 4, 3)).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((images, rng.integers(0, CLASSES, 31))).batch(12).repeat()
    history = model.fit(batches, steps_per_epoch=5, verbose=0)
    return [*history.history["loss"], *(variable.numpy() for variable in model.trainable_variables)]


@pytest.mark.parametrize("name", ["triplet-batch_hard-angular", "triplet-semi_hard-angular", "contrastive-euclidean"])
def test_training_on_replicas_is_training_on_one_device(name, mirrored):
    expected = train(LOSSES[name])
    with mirrored(3).scope():
        parallel = train(LOSSES[name])
    for ours, theirs in zip(parallel, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
