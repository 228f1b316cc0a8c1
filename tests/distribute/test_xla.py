"""A TensorFlow without XLA trains the same, and says so once."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.backbones import layers
from tfface.distribute import xla
from tfface.optimizers import row_sgd

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32), np.array([3, 5, 5, 9999])


@pytest.fixture
def without_xla(monkeypatch):
    """TensorFlow as it is built without a compiler, which it misses when a function first runs."""

    def function(python_function, jit_compile, **options):
        def run(*_):
            raise tf.errors.NotFoundError(None, None, "could not find registered platform")

        return run if jit_compile else tf.function(python_function, **options)

    names = ("init_scope", "negative", "zeros", "errors")
    tensorflow = types.SimpleNamespace(function=function, **{name: getattr(tf, name) for name in names})
    monkeypatch.setattr(xla, "tf", tensorflow)
    xla.available.cache_clear()
    yield
    xla.available.cache_clear()


def test_xla_is_available_here():
    assert xla.available()


def test_no_xla_is_said_once(without_xla, recwarn):
    assert not xla.available()
    assert not xla.available()
    (warning,) = recwarn
    assert "this TensorFlow has no XLA for its device (NotFoundError)" in str(warning.message)


def trained(**options):
    keras.utils.set_random_seed(0)
    head = heads.ArcFace(10_000, scale=16.0, **options)
    inputs = keras.Input(IMAGES.shape[1:])
    x = keras.layers.Flatten()(layers.prelu(layers.conv(inputs, 8)))
    encoder = keras.Model(inputs, layers.batch_norm(keras.layers.Dense(16)(x)))
    model = tfface.FaceModel(encoder, head)
    model.compile(tfface.optimizers.SGD(0.01, weight_decay=5e-4))
    losses = [model.train_on_batch(IMAGES, LABELS) for _ in range(2)]
    return losses, head.get_class_weights()


@pytest.mark.parametrize(
    "options", [{}, {"sampler": tfface.classifier.samplers.UniformSampler(0.1)}], ids=["all classes", "sampled"]
)
def test_training_without_xla_is_that_with_it(options, request, monkeypatch):
    monkeypatch.setattr(row_sgd, "_XLA_FROM_SIZE", 1)
    expected = trained(**options)
    request.getfixturevalue("without_xla")
    with pytest.warns(UserWarning, match="no XLA"):
        found = trained(**options)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
