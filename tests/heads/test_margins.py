"""Differences between the margin heads: options, limits, and identities between them."""

import numpy as np
import pytest
import tensorflow as tf

from tfface import heads

COSINES = np.linspace(-0.999, 0.999, 401).astype(np.float32)


def test_straight_through_has_the_values_of_exact_and_a_slope_of_one():
    exact, through = (heads.ArcFace(3, gradient=mode) for mode in ("exact", "straight_through"))
    cosines = tf.constant(COSINES)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(cosines)
        values = exact.margin_target(cosines, {}), through.margin_target(cosines, {})
    np.testing.assert_allclose(*values, atol=1e-6)
    np.testing.assert_array_equal(tape.gradient(values[1], cosines), np.ones_like(COSINES))
    # The factor that straight-through leaves out: sin(θ + m) / sin θ, 3.60 at 10 degrees for m = 0.5.
    slope = tape.gradient(values[0], cosines).numpy()
    theta = np.arccos(COSINES.astype(np.float64))
    inside = theta + 0.5 < np.pi
    np.testing.assert_allclose(slope[inside], (np.sin(theta + 0.5) / np.sin(theta))[inside], rtol=1e-3)


def test_fallback_is_monotone_and_none_is_not():
    for overflow, monotone in (("fallback", True), ("none", False)):
        values = heads.ArcFace(3, margin=0.5, overflow=overflow).margin_target(tf.constant(COSINES), {}).numpy()
        assert (np.diff(values) > 0).all() == monotone


def test_no_margin_is_norm_softmax():
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, 0])
    weights = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    losses = []
    for head in (heads.NormSoftmax(4), heads.CosFace(4, margin=0.0), heads.ArcFace(4, margin=0.0)):
        head.build(x.shape)
        head.set_class_weights(weights)
        losses.append(head(x, labels))
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-6)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: heads.NormSoftmax(3, scale=0), "scale must be positive, got 0"),
        (lambda: heads.NormSoftmax(3, scale=float("nan")), "scale must be positive, got nan"),
        (lambda: heads.CosFace(3, margin=-0.1), "got -0.1"),
        (lambda: heads.CosFace(3, margin=1.5), "got 1.5"),
        (lambda: heads.ArcFace(3, margin=28.6), "radians, got 28.6"),
        (lambda: heads.ArcFace(3, gradient="exakt"), "got 'exakt'"),
        (lambda: heads.ArcFace(3, overflow="clamp"), "got 'clamp'"),
        (lambda: heads.ArcFace(2.5), "got 2.5"),
    ],
)
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
