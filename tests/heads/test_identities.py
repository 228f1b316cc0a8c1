"""Identities between heads, which their papers promise."""

import numpy as np
import pytest
import tensorflow as tf

from tfface import heads

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(6, 8)).astype(np.float32), RNG.normal(size=(40, 8)).astype(np.float32)
LABELS = RNG.integers(0, 40, 6)


def losses_and_gradient(head, training=False):
    head.build(X.shape)
    head.set_class_weights(W)
    with tf.GradientTape() as tape:
        losses = head(X, LABELS, training=training)
    return losses.numpy(), tf.convert_to_tensor(tape.gradient(losses, head.class_weights.value)).numpy()


@pytest.mark.parametrize(
    "one, other",
    [
        (heads.CombinedMargin(40, m1=1.0, m2=0.5, m3=0.0), heads.ArcFace(40, margin=0.5)),
        (heads.CombinedMargin(40, m1=1.0, m2=0.0, m3=0.35), heads.CosFace(40, margin=0.35)),
        (heads.CombinedMargin(40, m1=1.35, m2=0.0, m3=0.0), heads.SphereFace(40, margin=1.35)),
        (heads.SphereFace(40, margin=1.0), heads.NormSoftmax(40)),
        (heads.SphereFace(40, margin=1.0, form="piecewise"), heads.NormSoftmax(40)),
        (heads.SubCenterArcFace(40, sub_centers=1), heads.ArcFace(40)),
        (heads.DSoftmax(40, inter="softmax"), heads.DSoftmax(40, inter="arcface", margin=0.0)),
        (heads.CoCo(40, scale=16.0), heads.NormSoftmax(40, scale=16.0)),
    ],
    ids=lambda head: head.name,
)
def test_heads_that_are_the_same(one, other):
    for got, expected in zip(losses_and_gradient(one), losses_and_gradient(other), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "sampled, full",
    [
        (heads.RandSoftmax(40, sampling_rate=1.0), heads.NormSoftmax(40)),
        (heads.RandArcFace(40, sampling_rate=1.0), heads.ArcFace(40)),
        (heads.DSoftmaxB(40, rows=6), heads.DSoftmax(40)),
        (heads.DSoftmaxB(40, rows=100), heads.DSoftmax(40)),
    ],
    ids=lambda head: head.name,
)
def test_a_sample_of_everything_is_everything(sampled, full):
    pairs = zip(losses_and_gradient(sampled, training=True), losses_and_gradient(full), strict=True)
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_outside_of_training_nothing_is_sampled():
    for sampled, full in (
        (heads.RandArcFace(40, sampling_rate=0.1), heads.ArcFace(40)),
        (heads.DSoftmaxK(40, sampling_rate=0.1), heads.DSoftmax(40)),
        (heads.DSoftmaxB(40, rows=1), heads.DSoftmax(40)),
    ):
        np.testing.assert_allclose(losses_and_gradient(sampled)[0], losses_and_gradient(full)[0], rtol=1e-6)


def test_termination_point_is_epsilon():
    # Eq. 6 with ε = e^{s d}: log(1 + ε / e^{s t}).
    head = heads.DSoftmax(40, scale=10.0, termination=0.9)
    target = np.linspace(-1, 1, 21)
    np.testing.assert_allclose(
        head.intra(tf.constant(target, tf.float32)), np.log1p(np.exp(10 * 0.9) / np.exp(10 * target)), rtol=1e-5
    )


def test_annealing_falls_with_the_steps_of_training_only():
    head = heads.SphereFace(40, margin=4.0, form="piecewise", annealing=100.0, annealing_min=5.0)
    head.build(X.shape)
    seen = []
    for training in (False, True, True, False):
        seen.append(float(head.context(X, LABELS, training)["annealing"][0]))
    np.testing.assert_allclose(seen, [100, 100, 100 / 1.12, 100 / 1.24], rtol=1e-6)
    head.step.assign(10**6)
    assert float(head.context(X, LABELS, False)["annealing"][0]) == 5.0


def test_curricularface_moves_tau_in_training_only():
    head = heads.CurricularFace(40)
    head.build(X.shape)
    head.set_class_weights(W)
    cosines = np.sum(X * W[LABELS], 1) / np.linalg.norm(X, axis=1) / np.linalg.norm(W[LABELS], axis=1)
    head(X, LABELS, training=False)
    assert float(head.tau) == 0
    head(X, LABELS, training=True)
    head(X, LABELS, training=True)
    assert float(head.tau) == pytest.approx(0.0199 * cosines.mean(), rel=1e-4)


def test_sub_centers_count_by_the_nearest():
    head = heads.SubCenterArcFace(40, sub_centers=2)
    head.build(X.shape)
    far = -np.repeat(X.mean(axis=0, keepdims=True), 40, axis=0) * 100
    head.set_class_weights(np.stack([W, far.astype(np.float32)], axis=1).reshape(80, 8))
    plain = heads.ArcFace(40)
    plain.build(X.shape)
    plain.set_class_weights(W)
    cosines = (X / np.linalg.norm(X, axis=1, keepdims=True)) @ (W / np.linalg.norm(W, axis=1, keepdims=True)).T
    away = X @ far[0] / np.linalg.norm(X, axis=1) / np.linalg.norm(far[0])
    nearest = np.maximum(cosines, away[:, None])
    np.testing.assert_allclose(head.logits(X) / 64, nearest, atol=1e-5)
