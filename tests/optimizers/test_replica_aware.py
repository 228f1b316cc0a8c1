"""Optimizers on several replicas do what they do on one device: clipping, loss scaling, weight decay."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.optimizers import row_sgd
from tfface.optimizers.lamb import LAMB
from tfface.optimizers.row_sgd import RowSGD

CLASSES = 11
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 6)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, 24)
START = [RNG.normal(size=shape).astype(np.float32) for shape in ((6, 5), (5,), (CLASSES, 5))]


def make_model(partition=None, head=heads.CosFace, **options):
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    model = tfface.FaceModel(encoder, head(CLASSES, scale=8.0, partition=partition), **options)
    for variable, value in zip(model.trainable_variables, START, strict=True):
        variable.assign(value)
    return model


def trained(optimizer, partition=None, **options):
    """Weights after two passes over two batches of 12."""
    model = make_model(partition, **options)
    model.compile(optimizer=optimizer())
    model.fit(IMAGES, LABELS, batch_size=12, epochs=2, shuffle=False, verbose=0)
    return [variable.numpy() for variable in model.trainable_variables]


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.2),
    "clipvalue": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipvalue=0.02),
    "coupled": lambda: RowSGD(0.01, momentum=0.9, weight_decay=0.1, decay_form="coupled"),
    "constant": lambda: RowSGD(0.01, momentum=0.9, weight_decay=0.1, decay_form="constant"),
    "lamb": lambda: LAMB(0.01, weight_decay=0.1),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01, momentum=0.9)),
}


# Those with another wish of the replicas: sums of gradients, their norm over all, one norm per weight.
FAST = ("sgd", "global_clipnorm", "coupled", "lamb")


@pytest.mark.parametrize("partition", [pytest.param(None, marks=pytest.mark.slow), "replicas"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in OPTIMIZERS]
)
def test_replicas_train_as_one_device(name, partition, mirrored):
    expected = trained(OPTIMIZERS[name])
    with mirrored(3).scope():
        parallel = trained(OPTIMIZERS[name], partition)
    for ours, theirs, start in zip(parallel, expected, START, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        assert np.abs(theirs - start).max() > 1e-3


@pytest.mark.parametrize(
    "form, partition",
    [
        ("coupled", None),
        ("decoupled", "replicas"),
        pytest.param("coupled", "replicas", marks=pytest.mark.slow),
        pytest.param("constant", "replicas", marks=pytest.mark.slow),
    ],
)
def test_decay_in_xla_is_that_of_one_device(form, partition, mirrored, monkeypatch):
    """Large variables are decayed and updated in XLA, here all of them; the expected update is that of small ones."""

    def optimizer():
        return RowSGD(0.01, momentum=0.9, weight_decay=0.1, decay_form=form)

    expected = trained(optimizer)
    compiled = []
    in_xla = row_sgd._decay_and_update
    monkeypatch.setattr(row_sgd, "_XLA_FROM_SIZE", 1)
    monkeypatch.setattr(row_sgd, "_decay_and_update", lambda *args: compiled.append(args) or in_xla(*args))
    with mirrored(3).scope():
        parallel = trained(optimizer, partition)
    assert len(compiled) >= len(START)
    for ours, theirs in zip(parallel, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_clipped_rows_equal_clipped_dense_gradients():
    """With every class drawn, gradients of rows are those of the whole; several of the batch fall on one row."""

    def all_sampled(*args, **kwargs):
        return heads.RandArcFace(*args, sampling_rate=1.0, **kwargs)

    rows = trained(OPTIMIZERS["global_clipnorm"], head=all_sampled)
    for ours, theirs in zip(rows, trained(OPTIMIZERS["global_clipnorm"], head=heads.ArcFace), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("partition", [None, "replicas"])
@pytest.mark.parametrize("replicas, broken", [(1, 0), (3, 0), (3, 2)])
def test_infinity_on_any_replica_skips_the_step_on_all(replicas, broken, partition, mirrored):
    strategy = mirrored(replicas)
    with strategy.scope():
        model = make_model(partition)
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1, momentum=0.9), initial_scale=1024.0, dynamic_growth_steps=2
        )
        model.compile(optimizer=optimizer)
        optimizer.build(model.trainable_variables)

        @tf.function
        def step(infinite):
            def of_replica():
                gradients = [tf.ones_like(variable.value) for variable in model.trainable_variables]
                number = tf.distribute.get_replica_context().replica_id_in_sync_group
                here = infinite & tf.equal(number, broken)
                gradients[1] = tf.where(here, np.float32(np.inf), gradients[1] * 1024)
                optimizer.apply(gradients, model.trainable_variables)

            strategy.run(of_replica)

        step(True)
        for variable, start in zip(model.trainable_variables, START, strict=True):
            np.testing.assert_array_equal(variable.numpy(), start)
        assert optimizer.dynamic_scale.numpy() == 512 and optimizer.inner_optimizer.iterations.numpy() == 0
        step(False)
        np.testing.assert_allclose(model.trainable_variables[1].numpy(), START[1] - 0.1 * 2 * replicas, atol=1e-6)
        step(False)  # The second sound step in a row doubles the scale.
        assert optimizer.dynamic_scale.numpy() == 1024 and optimizer.inner_optimizer.iterations.numpy() == 2


def test_float16_network_scales_its_loss_by_itself(mirrored):
    try:
        keras.config.set_dtype_policy("mixed_float16")
        with mirrored(2).scope():
            model = make_model("replicas")
            model.compile(optimizer=keras.optimizers.SGD(0.01))
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.fit(IMAGES, LABELS, batch_size=12, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(model.trainable_variables, trained(lambda: keras.optimizers.SGD(0.01)), strict=True):
        # Embeddings have 11 bits.
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-3)


@pytest.mark.parametrize("option", ["gradient_accumulation_steps", "use_ema"])
def test_options_of_keras_that_replicas_cannot_have(option, mirrored):
    with mirrored(2).scope():
        model = make_model()
        with pytest.raises(ValueError, match=f"several replicas cannot train with {option} .FaceModel has"):
            model.compile(optimizer=keras.optimizers.SGD(**{option: 2}))
