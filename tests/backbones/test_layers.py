"""The building blocks against other implementations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface.backbones import layers, synchronize_batch_norm
from tfface.backbones.batch_norm import FusedBatchNormalization

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
