"""SphereFace2: golden biases, and what its switches switch."""

import numpy as np
import pytest
import tensorflow as tf

from tfface import heads

# Biases that the authors' formula gives, computed with their code's settings.
GOLDEN = [
    ({"balance": 0.7, "radius": 40.0, "margin": 0.4, "margin_type": "C"}, 8631, 5.784568),
    ({"balance": 0.7, "radius": 40.0, "margin": 0.4, "margin_type": "C"}, 10572, 5.581649),
    ({"balance": 0.7, "radius": 40.0, "margin": 0.4, "margin_type": "C"}, 85742, 3.488239),
    ({"balance": 0.7, "radius": 40.0, "margin": 0.4, "margin_type": "C"}, 360232, 2.052804),
    ({"balance": 0.8, "radius": 64.0, "margin": 0.5, "margin_type": "C"}, 8631, 8.323758),
    ({"balance": 0.8, "radius": 64.0, "margin": 0.5, "margin_type": "C"}, 85742, 6.027255),
    ({"balance": 0.7, "radius": 40.0, "margin": 0.5, "margin_type": "A"}, 8631, 21.784568),
    ({"balance": 0.7, "radius": 40.0, "margin": 1.7, "margin_type": "M"}, 8631, 21.784568),
    ({"balance": 0.7, "radius": 40.0, "margin": 0.5, "margin_type": "A"}, 85742, 19.488239),
    ({"balance": 0.7, "radius": 40.0, "margin": 1.7, "margin_type": "M"}, 85742, 19.488239),
]


@pytest.mark.parametrize("options, num_classes, expected", GOLDEN)
def test_golden_initial_bias(options, num_classes, expected):
    assert heads.SphereFace2(num_classes, **options).initial_bias() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("margin_type, margin", [("C", 0.4), ("A", 0.5), ("M", 1.7)])
def test_initial_bias_balances_the_gradients_at_right_angles(margin_type, margin):
    head = heads.SphereFace2(1000, margin_type=margin_type, margin=margin)
    bias = tf.constant(head.initial_bias())
    zero = tf.zeros([1])
    context = {"bias": bias}
    positive = head.balance * tf.sigmoid(-head.target_logit(zero, context))
    negative = (1 - head.balance) * 999 * tf.sigmoid(head.negative_logit(zero[None], context))
    assert float(positive[0]) == pytest.approx(float(negative[0, 0]), rel=1e-4)


def test_adjustment_of_1_is_none():
    cosines = tf.constant(np.linspace(-1, 1, 101), tf.float32)
    context = {"bias": tf.constant(0.3)}
    head = heads.SphereFace2(10, adjustment=1.0, radius=30.0, margin=0.4)
    np.testing.assert_allclose(head.target_logit(cosines, context), 30 * (cosines - 0.4) + 0.3, atol=1e-5)
    np.testing.assert_allclose(head.negative_logit(cosines, context), 30 * (cosines + 0.4) + 0.3, atol=1e-5)


def test_loss_weight_is_a_factor():
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    losses = []
    for weight in (1.0, 10.0):
        head = heads.SphereFace2(6, loss_weight=weight)
        head.build(x.shape)
        head.set_class_weights(np.random.default_rng(1).normal(size=(6, 8)))
        losses.append(head(x, np.array([0, 1, 2, 5])))
    np.testing.assert_allclose(losses[1], 10 * losses[0].numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"balance": 0.0}, "got 0.0"),
        ({"balance": 1.0}, "got 1.0"),
        ({"radius": 0}, "got 0"),
        ({"margin": 1.5}, "got 1.5"),
        ({"margin_type": "M", "margin": 0.4}, r"margin must be in \[1, 10\], got 0.4"),
        ({"adjustment": 0.5}, "got 0.5"),
        ({"margin_type": "X"}, "got 'X'"),
    ],
)
def test_values_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        heads.SphereFace2(10, **options)
