"""The building blocks against other implementations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface.backbones import batch_norm, layers, prelu, synchronize_batch_norm
from tfface.backbones.batch_norm import FusedBatchNormalization
from tfface.backbones.prelu import FusedPReLU

RNG = np.random.default_rng(0)


def test_strided_convolutions_pad_all_sides_alike():
    # A mirrored image must give the mirrored feature map; Keras' "same" padding would shift it.
    inputs = keras.Input((57, 57, 3))
    model = keras.Model(inputs, layers.conv(inputs, 4, strides=2))
    kernel = model.layers[-1].kernel
    kernel.assign(kernel.numpy() + kernel.numpy()[:, ::-1])
    image = RNG.normal(size=(1, 57, 57, 3)).astype(np.float32)
    np.testing.assert_allclose(model(image[:, :, ::-1]), model(image).numpy()[:, :, ::-1], atol=1e-5)


def test_grouped_convolution_equals_convolutions_of_the_groups():
    inputs = keras.Input((6, 5, 8))
    model = keras.Model(inputs, layers.depthwise_conv(inputs, group_size=2))
    kernel = model.layers[1].kernel.numpy()  # [3, 3, channel, output of its group]
    x = RNG.normal(size=(2, 6, 5, 8)).astype(np.float32)
    groups = [
        tf.nn.conv2d(x[..., c : c + 2], kernel[:, :, c : c + 2], strides=1, padding="SAME") for c in range(0, 8, 2)
    ]
    np.testing.assert_allclose(model(x), tf.concat(groups, -1), atol=1e-5)


def normalise(layer, x, weights):
    """Outputs and all gradients of a training step, then the moving statistics."""
    layer.build(x.shape)
    layer.gamma.assign(np.linspace(0.5, 1.5, 3))
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=True)
        loss = tf.reduce_sum(outputs * weights)
    gradients = tape.gradient(loss, [x, layer.gamma, layer.beta])
    return [np.asarray(array) for array in (outputs, *gradients, layer.moving_mean, layer.moving_variance)]


def test_fused_normalisation_equals_that_of_keras():
    x = (3 * RNG.normal(size=(4, 5, 6, 3)) + 2).astype(np.float32)
    weights = RNG.normal(size=x.shape).astype(np.float32)
    ours = normalise(FusedBatchNormalization(momentum=0.9, epsilon=1e-5), x, weights)
    theirs = normalise(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), x, weights)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-4)


@pytest.fixture
def all_maps_are_large(monkeypatch):
    monkeypatch.setattr(prelu, "_XLA_FROM_SIZE", 1)


def activate(layer, x, weights):
    """Outputs and all gradients of a training step."""
    layer.build(x.shape)
    layer.alpha.assign(np.linspace(-0.5, 1.5, layer.alpha.shape[-1]) * np.ones(layer.alpha.shape))
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=True)
        loss = tf.reduce_sum(outputs * weights)
    return [np.asarray(array) for array in (outputs, *tape.gradient(loss, [x, layer.alpha]))]


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (2, 1, 1, 3), (4, 3)], ids=["maps", "pixels", "vectors"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.usefixtures("all_maps_are_large")
def test_fused_prelu_equals_that_of_keras(shape, shared, policy):
    x = RNG.normal(size=shape).astype(np.float32)
    x.flat[::7] = 0  # Where its slope is undefined, both take zero.
    weights = RNG.normal(size=shape).astype(np.float32)
    options = {"shared_axes": list(range(1, len(shape) - 1)) if shared else None, "dtype": policy}
    ours = activate(FusedPReLU(**options), x, weights)
    theirs = activate(keras.layers.PReLU(**options), x, weights)
    for our, their in zip(ours, theirs, strict=True):
        assert (our.shape, our.dtype) == (their.shape, their.dtype)
        np.testing.assert_array_equal(our, their)


@pytest.mark.parametrize(
    ("shape", "training", "expected"),
    [((32, 32, 8), True, True), ((32, 32, 8), False, False), ((32, 32, 7), True, False), ((None, 32, 8), True, False)],
    ids=["training", "export", "small", "of any size"],
)
def test_prelu_is_in_xla_where_large_maps_are_trained(shape, training, expected):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.prelu(inputs))
    traced = tf.function(lambda x: model(x, training=training)).get_concrete_function(tf.TensorSpec((None, *shape)))
    functions = traced.graph.as_graph_def().library.function
    assert any("_XlaMustCompile" in function.attr for function in functions) == expected


@pytest.mark.parametrize("option", ["trainable", "training"])
def test_frozen_normalisation_leaves_its_statistics(option):
    layer = FusedBatchNormalization()
    layer.build((None, 4, 4, 3))
    layer.trainable = option != "trainable"
    x = RNG.normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(x, training=option == "trainable"), x / np.sqrt(1 + 1e-3), rtol=1e-5)
    assert not np.any(layer.moving_mean) and np.all(layer.moving_variance == 1)


def test_synchronised_option_survives_a_file(tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.prelu(layers.batch_norm(layers.conv(inputs, 4))))
    synchronize_batch_norm(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [layer.synchronized for layer in again.layers if hasattr(layer, "synchronized")] == [True]


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 6, 3)], ids=["vectors", "maps"])
@pytest.mark.parametrize("affine", [True, False])
def test_normalisation_over_replicas_is_that_of_all_examples(shape, affine, mirrored, monkeypatch):
    """Parts of 3 and 2 examples, and means so large that float32 has no digit left of a difference of their squares."""
    rng = np.random.default_rng(1)
    x, weights = (1000 + rng.normal(size=shape)).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    messages = []
    of_replicas = batch_norm.collectives.sum_over_replicas
    monkeypatch.setattr(
        batch_norm.collectives,
        "sum_over_replicas",
        lambda value: messages.append(value.shape.as_list()) or of_replicas(value),
    )
    strategy = mirrored(2)
    with strategy.scope():
        layer = FusedBatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True, scale=affine, center=affine)
        layer.build((None, *shape[1:]))
        if affine:
            layer.gamma.assign(np.linspace(0.5, 1.5, 3))

    def part(context):
        return np.split(x, [3])[context.replica_id_in_sync_group], np.split(weights, [3])[
            context.replica_id_in_sync_group
        ]

    def of_replica(x, weights):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
            loss = tf.reduce_sum(outputs * weights)
        return [outputs, *tape.gradient(loss, [x, *layer.trainable_variables])]

    parts = strategy.experimental_distribute_values_from_function(lambda c: tuple(map(tf.constant, part(c))))
    results = tf.function(lambda parts: strategy.run(of_replica, args=parts))(parts)
    outputs, of_x, *of_weights = (strategy.experimental_local_results(result) for result in results)

    exact = normalised_exactly(x.astype(np.float64), weights, np.linspace(0.5, 1.5, 3) if affine else np.ones(3))
    np.testing.assert_allclose(np.concatenate(outputs), exact["outputs"], atol=2e-3)
    np.testing.assert_allclose(np.concatenate(of_x), exact["of_x"], atol=2e-3)
    for ours, theirs in zip(of_weights, (exact["of_scale"], exact["of_offset"]), strict=False):
        np.testing.assert_allclose(sum(ours), theirs, atol=2e-2)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * exact["mean"], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * exact["variance"], rtol=1e-3)
    # A message of counts, means and variances, and one of the gradient's two sums, from each replica.
    assert sorted(messages) == [[2, 3], [2, 3], [2, 7], [2, 7]]


def normalised_exactly(x, weights, scale):
    """Results of the formulas written out, with the gradient as differences of two losses."""
    axes = tuple(range(x.ndim - 1))

    def outputs(x):
        return scale * (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)

    of_x = np.empty_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-3
        of_x[index] = np.sum(weights * (outputs(x + step) - outputs(x - step))) / 2e-3
    return {
        "outputs": outputs(x),
        "of_x": of_x,
        "of_scale": np.sum(weights * outputs(x), axes) / scale,
        "of_offset": np.sum(weights.astype(np.float64), axes),
        "mean": x.mean(axes),
        "variance": x.var(axes),
    }
