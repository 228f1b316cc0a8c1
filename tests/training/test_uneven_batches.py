"""Last batches that are smaller than the number of replicas or micro-batches train like those on one device."""

import keras
import numpy as np
import pytest

import tfface
from tfface import heads

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(5, 6)).astype(np.float32), RNG.integers(0, 4, 5)
WEIGHTS = RNG.uniform(0.5, 2, 5).astype(np.float32)


def trained(partition=None, micro_batches=1, weights=None, normalise=False):
    """Weights and losses after batches of 4 and 1, twice."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1))]
    if normalise:
        layers.append(keras.layers.BatchNormalization(momentum=0.5))
    head = heads.ArcFace(4, scale=8.0, partition=partition)
    model = tfface.FaceModel(keras.Sequential(layers), head, micro_batches=micro_batches)
    model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    history = model.fit(IMAGES, LABELS, sample_weight=weights, batch_size=4, epochs=2, shuffle=False, verbose=0)
    evaluated = model.evaluate(IMAGES, LABELS, batch_size=4, verbose=0)
    predicted = model.predict(IMAGES, batch_size=4, verbose=0)
    return [np.array(history.history["loss"]), evaluated, predicted, *(v.numpy() for v in model.variables[:-2])]


@pytest.mark.parametrize(
    ("replicas", "micro_batches", "partition", "weights"),
    [
        (1, 3, None, WEIGHTS),
        (2, 1, None, None),
        (3, 2, "replicas", WEIGHTS),
        pytest.param(1, 3, None, None, marks=pytest.mark.slow),
        pytest.param(2, 1, None, WEIGHTS, marks=pytest.mark.slow),
        pytest.param(2, 3, None, None, marks=pytest.mark.slow),
        pytest.param(2, 3, None, WEIGHTS, marks=pytest.mark.slow),
        pytest.param(3, 2, "replicas", None, marks=pytest.mark.slow),
    ],
)
def test_a_small_last_batch_trains_as_on_one_device(replicas, micro_batches, partition, weights, mirrored):
    expected = trained(weights=weights)
    if replicas == 1:
        found = trained(partition, micro_batches, weights)
    else:
        with mirrored(replicas).scope():
            found = trained(partition, micro_batches, weights)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_batch_normalisation_sees_no_empty_batch(mirrored):
    with mirrored(2).scope():
        assert all(np.isfinite(values).all() for values in trained(normalise=True))
