"""Learning-rate schedules against formulas written out by hand."""

import math

import keras
import numpy as np
import pytest

from tfface.optimizers import Constant, Cosine, Polynomial, Steps, learning_rate


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in range(steps)])


def test_steps_change_at_their_boundaries():
    got = rates(learning_rate(Steps(steps=[4, 8]), 0.1, 10), 10)
    np.testing.assert_allclose(got, [0.1] * 4 + [0.01] * 4 + [0.001] * 2, rtol=1e-6)


def test_steps_with_warm_up_count_from_the_start_of_the_run():
    got = rates(learning_rate(Steps(epochs=[0.8, 1.6]), 0.1, 10, warmup_steps=2, steps_per_epoch=5), 10)
    np.testing.assert_allclose(got, [0.05, 0.1] + [0.1] * 2 + [0.01] * 4 + [0.001] * 2, rtol=1e-6)


def test_polynomial_ends_at_final():
    got = rates(learning_rate(Polynomial(power=2.0), 0.1, 10), 11)
    np.testing.assert_allclose(got, [0.1 * (1 - step / 10) ** 2 for step in range(11)], atol=1e-8)


def test_cosine_after_warm_up():
    got = rates(learning_rate(Cosine(final=0.02), 0.2, 12, warmup_steps=4), 13)
    expected = [0.05, 0.1, 0.15, 0.2]
    expected += [0.02 + 0.18 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("schedule", [Constant(), Steps(steps=[4]), Polynomial(), Cosine()])
def test_a_learning_rate_of_zero_changes_nothing(schedule):
    assert not rates(learning_rate(schedule, 0.0, 10, warmup_steps=2), 10).any()


def test_cosine_cannot_grow_from_zero():
    with pytest.raises(ValueError, match="Cosine must start at a positive learning rate to reach 0.1, got 0"):
        learning_rate(Cosine(final=0.1), 0.0, 10)


def test_constant():
    np.testing.assert_allclose(rates(learning_rate(Constant(), 0.3, 5, warmup_steps=3), 5), [0.1, 0.2, 0.3, 0.3, 0.3])


def test_warm_up_survives_serialisation():
    schedule = learning_rate(Cosine(), 0.2, 12, warmup_steps=4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    np.testing.assert_array_equal(rates(schedule, 13), rates(again, 13))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((Cosine(), 0.1, 10, 10), r"\[0, 10\).* got 10"),
        ((Steps(steps=[8, 4]), 0.1, 10), r"got \[8, 4\]"),
        ((Steps(steps=[4, 10]), 0.1, 10), r"got \[4, 10\]"),
    ],
)
def test_impossible_schedules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(*arguments)
