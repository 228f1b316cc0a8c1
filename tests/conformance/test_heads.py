"""One battery that every head runs through; a new head adds one line to HEADS."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfface import heads


@dataclasses.dataclass
class Case:
    make: Callable  # num_classes -> head
    oracle: Callable  # (cosines [K], label) -> loss


def case(head, oracle, **options):
    return Case(functools.partial(head, **options), functools.partial(oracle, **options))


HEADS = {
    "norm_softmax": case(heads.NormSoftmax, oracles.norm_softmax, scale=16.0),
    "norm_softmax_64": case(heads.NormSoftmax, oracles.norm_softmax, scale=64.0),
    "cosface": case(heads.CosFace, oracles.cosface, scale=64.0, margin=0.35),
    "cosface_30": case(heads.CosFace, oracles.cosface, scale=30.0, margin=0.4),
    "arcface": case(heads.ArcFace, oracles.arcface, scale=64.0, margin=0.5),
    "arcface_128": case(heads.ArcFace, oracles.arcface, scale=128.0, margin=0.3),
    "arcface_no_fallback": case(heads.ArcFace, oracles.arcface, scale=32.0, margin=0.5, overflow="none"),
}
every_head = pytest.mark.parametrize("name", HEADS)


def problem(num_classes, batch=6, dim=16, seed=0, norms=None):
    """Embeddings [B, d], class weights [K, d], labels [B]: float64 values that float32 holds exactly."""
    rng = np.random.default_rng([seed, num_classes, batch])
    embeddings = rng.normal(size=(batch, dim)) * (1.0 if norms is None else np.resize(norms, (batch, 1)))
    class_weights = rng.normal(size=(num_classes, dim))
    labels = rng.integers(0, num_classes, batch)
    return embeddings.astype(np.float32).astype(np.float64), class_weights.astype(np.float32).astype(np.float64), labels


def run(head, embeddings, class_weights, labels, upstream=None):
    """Losses and gradients of sum(upstream · losses), as NumPy float64."""
    embeddings = tf.constant(embeddings, tf.float32)
    if not head.built:
        head.build(embeddings.shape)
    head.set_class_weights(class_weights.astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = head(embeddings, tf.constant(labels))
        total = tf.reduce_sum(losses * (1.0 if upstream is None else tf.constant(upstream, tf.float32)))
    by_embeddings, by_weights = tape.gradient(total, [embeddings, head.class_weights.value])
    return [np.asarray(array, np.float64) for array in (losses, by_embeddings, by_weights)]


@every_head
@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000, 5000])
@pytest.mark.parametrize("norms", [None, [1e-6, 1e-3, 1.0, 1e3, 1e6]], ids=["norms_near_1", "norms_1e-6_to_1e6"])
def test_loss_and_gradients_equal_the_oracle(name, num_classes, norms):
    embeddings, class_weights, labels = problem(num_classes, norms=norms)
    upstream = np.linspace(0.5, 1.5, len(labels))
    head = HEADS[name].make(num_classes)
    losses, by_embeddings, by_weights = run(head, embeddings, class_weights, labels, upstream)

    expected = oracles.losses(HEADS[name].oracle, embeddings, class_weights, labels).real
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)

    rng = np.random.default_rng(1)
    # Directions scaled with the embeddings: the gradient is proportional to 1/‖x‖.
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    for _ in range(3):
        direction_x = rng.normal(size=embeddings.shape) * lengths
        direction_w = rng.normal(size=class_weights.shape)
        zero_x, zero_w = np.zeros_like(direction_x), np.zeros_like(direction_w)
        along_x = oracles.directional_derivatives(
            HEADS[name].oracle, embeddings, class_weights, labels, direction_x, zero_w
        )
        along_w = oracles.directional_derivatives(
            HEADS[name].oracle, embeddings, class_weights, labels, zero_x, direction_w
        )
        # Relative to the largest of its kind: single components cancel, and float32 cannot keep their last digits.
        got_x = np.sum(by_embeddings * direction_x, axis=1)
        np.testing.assert_allclose(got_x, upstream * along_x, rtol=1e-5, atol=1e-5 * np.abs(along_x).max())
        got_w = np.sum(by_weights * direction_w)
        np.testing.assert_allclose(got_w, upstream @ along_w, rtol=1e-5, atol=1e-5 * np.abs(along_w).sum())


@every_head
def test_cosine_of_exactly_one_and_minus_one(name):
    class_weights = np.eye(4, 8)
    embeddings = np.stack([class_weights[0] * 3, -class_weights[1] * 0.5])
    losses, *gradients = run(HEADS[name].make(4), embeddings, class_weights, np.array([0, 1]))
    expected = oracles.losses(HEADS[name].oracle, embeddings + 0j, class_weights + 0j, [0, 1]).real
    # The sine of an angle of 0 is known to sqrt(1e-7) in float32: hence scale · 3e-4 of absolute tolerance.
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=3.2e-4 * 128)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every_head
def test_one_example_and_all_examples_of_one_class(name):
    for batch, labels in ((1, [2]), (5, [3] * 5)):
        embeddings, class_weights, _ = problem(7, batch)
        losses, *_ = run(HEADS[name].make(7), embeddings, class_weights, np.array(labels))
        expected = oracles.losses(HEADS[name].oracle, embeddings, class_weights, labels).real
        np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)


@every_head
def test_zero_and_extreme_inputs_stay_finite(name):
    embeddings, class_weights, labels = problem(5)
    embeddings[0] = 0
    embeddings[1] *= 1e30
    embeddings[2] *= 1e-30
    class_weights[4] = 0
    losses, by_embeddings, by_weights = run(HEADS[name].make(5), embeddings, class_weights, labels)
    assert np.isfinite(losses).all()
    assert np.isfinite(by_weights).all()
    assert np.isfinite(by_embeddings[[0, 1, 3, 4, 5]]).all()
    assert np.all(by_embeddings[0] == 0)


@every_head
def test_cross_entropy_of_the_logits_is_the_loss(name):
    embeddings, class_weights, labels = problem(50)
    head = HEADS[name].make(50)
    losses, *_ = run(head, embeddings, class_weights, labels)
    logits = head.logits(embeddings.astype(np.float32), labels)
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    np.testing.assert_allclose(losses, expected, rtol=2e-5, atol=1e-5)


@every_head
def test_config_round_trip(name):
    head = HEADS[name].make(9)
    again = type(head).from_config(head.get_config())
    assert again.get_config() == head.get_config()


@every_head
def test_functional_model_saves_and_loads(name, tmp_path):
    embeddings, _, labels = problem(9)
    embeddings = embeddings.astype(np.float32)
    inputs = keras.Input((16,)), keras.Input((), dtype="int64")
    model = keras.Model(inputs, HEADS[name].make(9)(*inputs))
    before = model([embeddings, labels])
    model.save(tmp_path / "head.keras")
    after = keras.models.load_model(tmp_path / "head.keras")([embeddings, labels])
    np.testing.assert_array_equal(before, after)


@every_head
@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_equals_eager(name, jit_compile):
    embeddings, class_weights, labels = problem(20)
    head = HEADS[name].make(20)
    eager = run(head, embeddings, class_weights, labels)[0]
    graph = tf.function(lambda x: head(x, tf.constant(labels)), jit_compile=jit_compile)
    np.testing.assert_allclose(graph(tf.constant(embeddings, tf.float32)), eager, rtol=1e-5, atol=1e-6)


@every_head
def test_bad_input_is_refused_by_name(name):
    head = HEADS[name].make(4)
    x = np.ones((3, 8), np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 4\).*\n*.*4"):
        head(x, np.array([0, 4, 1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 4\)"):
        head(x, np.array([0, -1, 1]))
    with pytest.raises(ValueError, match="integers, got float32"):
        head(x, np.array([0, 1, 1], np.float32))
    with pytest.raises(ValueError, match=r"shape \[B\], got"):
        head(x, np.array([[0], [1], [1]]))
    with pytest.raises(ValueError, match=r"shape \[B, d\], got"):
        head(np.ones((3, 2, 8), np.float32), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="num_classes must be .* at least 2, got 1"):
        HEADS[name].make(1)
    with pytest.raises(ValueError, match=r"shape \(4, 8\), got \(3, 8\)"):
        head.set_class_weights(x)
