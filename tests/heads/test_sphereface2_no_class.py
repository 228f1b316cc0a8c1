"""SphereFace2 with faces of no class, label -1: all classes are their negatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.classifier.samplers.uniform import UniformSampler

CLASSES, DIM = 7, 5
X = np.random.default_rng(0).normal(size=(12, DIM)).astype(np.float32)
LABELS = np.array([0, -1, 3, 6, -1, 2, 2, -1, 5, 1, 4, -1])
START = keras.initializers.RandomNormal(stddev=0.5, seed=3)


def expected(x, weights, labels, bias):
    """Eq. 6 without the positive part where there is no class."""
    cosines = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (
        weights / np.linalg.norm(weights, axis=1, keepdims=True)
    ).T
    g = 2 * ((cosines + 1) / 2) ** 3 - 1
    positive = 0.7 / 30 * np.log1p(np.exp(-30 * (g - 0.4) - bias))
    negative = 0.3 / 30 * np.log1p(np.exp(30 * (g + 0.4) + bias))
    own = labels[:, None] == np.arange(CLASSES)
    return np.sum(np.where(own, positive, negative), axis=1)


@pytest.mark.parametrize("sampler", [None, UniformSampler(1.0)])
def test_loss_and_logits(sampler):
    head = heads.SphereFace2(CLASSES, class_weights_initializer=START, sampler=sampler)
    head.build(X.shape)
    losses = head(X, LABELS, training=True)
    oracle = expected(X.astype(float), head.get_class_weights().astype(float), LABELS, float(head.bias))
    np.testing.assert_allclose(losses, oracle, rtol=1e-5)
    assert np.isfinite(head.logits(X, LABELS)).all()


def test_each_face_of_no_class_repels_all_classes():
    head = heads.SphereFace2(CLASSES, class_weights_initializer=START)
    head.build(X.shape)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(head(x, np.full(12, -1), training=True))
    steps = 1e-3 * tape.gradient(total, x).numpy()
    after = expected(X.astype(float) + steps, head.get_class_weights(), np.full(12, -1), float(head.bias))
    before = expected(X.astype(float), head.get_class_weights(), np.full(12, -1), float(head.bias))
    np.testing.assert_allclose(np.sum(after - before), np.sum(steps * steps) / 1e-3, rtol=0.05)


@pytest.mark.parametrize("queue_size", [pytest.param(0, marks=pytest.mark.slow), 60])
def test_on_replicas_and_in_a_queue(queue_size, mirrored):
    def trained(partition, queue_size):
        keras.utils.set_random_seed(1)
        encoder = keras.Sequential([keras.Input((DIM,)), keras.layers.Dense(DIM)])
        head = heads.SphereFace2(CLASSES, class_weights_initializer=START, partition=partition)
        model = tfface.FaceModel(encoder, heads.BroadFace(head, queue_size) if queue_size else head)
        model.compile(optimizer=keras.optimizers.SGD(0.5))
        model.fit(X, LABELS, batch_size=12, epochs=4, shuffle=False, verbose=0)
        return [variable.numpy() for variable in model.trainable_variables]

    one = trained(None, queue_size)
    with mirrored(3).scope():
        for ours, theirs in zip(trained("replicas", queue_size), one, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
