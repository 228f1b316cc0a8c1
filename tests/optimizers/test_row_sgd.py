"""RowSGD against the update written out row by row."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import heads
from tfface.optimizers import row_sgd
from tfface.optimizers.row_sgd import DECAY_FORMS, RowSGD

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("row", [(3,), ()], ids=["vectors", "scalars"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay, form", [(None, "decoupled"), *((0.05, form) for form in DECAY_FORMS)])
def test_rows_with_gradients_move_as_by_hand_and_others_stay(momentum, weight_decay, form, row):
    start = RNG.normal(size=(10, *row)).astype(np.float32)
    variable = keras.Variable(start)
    optimizer = RowSGD(0.1, momentum=momentum, weight_decay=weight_decay, decay_form=form)
    optimizer.build([variable])
    weights, velocity = start.astype(np.float64), np.zeros(start.shape)
    for rows in ([1, 4, 1], [4, 0], [1, 1, 1], [9]):
        values = RNG.normal(size=(len(rows), *row)).astype(np.float32)
        optimizer.apply([tf.IndexedSlices(values, tf.constant(rows), tf.constant(start.shape))], [variable])
        for at in set(rows):
            gradient = sum(value.astype(np.float64) for value, place in zip(values, rows, strict=True) if place == at)
            decay = (weight_decay or 0) * weights[at]
            velocity[at] = momentum * velocity[at] - 0.1 * (gradient + (form == "coupled") * decay)
            weights[at] += velocity[at] - {"decoupled": 0.1, "constant": 1.0, "coupled": 0.0}[form] * decay
    np.testing.assert_allclose(variable, weights, rtol=1e-5, atol=1e-6)


@pytest.fixture(params=[False, True], ids=["small", "large"])
def in_xla(request, monkeypatch):
    """Whether variables are as large as those that are updated in XLA."""
    monkeypatch.setattr(row_sgd, "_XLA_FROM_SIZE", 1 if request.param else 1 << 60)


@pytest.mark.usefixtures("in_xla")
@pytest.mark.parametrize("excluded", [False, True])
def test_dense_gradients_are_those_of_sgd(excluded):
    start = RNG.normal(size=(10, 3)).astype(np.float32)
    variables = []
    for optimizer in (RowSGD(0.1, momentum=0.9, weight_decay=0.1), keras.optimizers.SGD(0.1, 0.9, weight_decay=0.1)):
        variable = keras.Variable(start)
        if excluded:
            optimizer.exclude_from_weight_decay([variable])
        optimizer.build([variable])
        for step in range(3):
            optimizer.apply([tf.constant(start * step)], [variable])
        variables.append(variable.numpy())
    np.testing.assert_allclose(*variables, rtol=1e-6)


@pytest.mark.usefixtures("in_xla")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_coupled_decay_is_the_gradient_of_an_l2_term(momentum):
    start = RNG.normal(size=(10, 3)).astype(np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    coupled = RowSGD(0.1, momentum=momentum, weight_decay=0.2, decay_form="coupled")
    plain = keras.optimizers.SGD(0.1, momentum=momentum)
    for step in range(4):
        loss_gradient = np.float32(np.cos(step + start))
        coupled.apply([tf.constant(loss_gradient)], [ours])
        plain.apply([loss_gradient + 0.2 * theirs.value], [theirs])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_file_keeps_the_form():
    optimizer = RowSGD(0.1, 0.9, weight_decay=0.2, decay_form="constant")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert (again.decay_form, again.weight_decay, again.momentum) == ("constant", 0.2, 0.9)


def test_sampled_head_leaves_unsampled_rows_alone():
    # A small scale gives every sampled class a gradient that float32 weights can take in.
    head = heads.RandArcFace(1000, scale=1.0, sampling_rate=0.02)
    x = RNG.normal(size=(4, 8)).astype(np.float32)
    head.build(x.shape)
    before = head.get_class_weights()
    optimizer = RowSGD(0.1, momentum=0.9)
    optimizer.build(head.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(head(x, np.array([3, 5, 5, 999]), training=True))
    optimizer.apply(tape.gradient(loss, [head.class_weights.value]), head.trainable_variables)
    moved = np.flatnonzero(np.any(head.get_class_weights() != before, axis=1))
    assert 20 <= len(moved) <= 23
    assert {3, 5, 999} <= set(moved)


def test_other_options_are_refused():
    with pytest.raises(ValueError, match="nesterov=True"):
        RowSGD(nesterov=True)
    with pytest.raises(ValueError, match="decay_form .*'l1'"):
        RowSGD(decay_form="l1")
