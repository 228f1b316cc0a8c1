"""Memory of feature maps against the tensors of a traced training step."""

import math

import keras
import pytest
import tensorflow as tf
from live_tensors import peak_bytes

from tfface import backbones
from tfface.backbones.activations import activation_bytes

IMAGES = 64


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("SFNet20", "float32"),
        pytest.param("IResNet18", "float32", marks=pytest.mark.slow),
        pytest.param("IResNet18", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("MobileFaceNet", "float32", marks=pytest.mark.slow),
        pytest.param("ViTTiny", "float32", marks=pytest.mark.slow),
        pytest.param("ResNet50", "float32", marks=pytest.mark.slow),
    ],
)
def test_feature_maps_are_those_of_the_graph_of_a_step(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = getattr(backbones, name)(32, 56)
    finally:
        keras.config.set_dtype_policy("float32")

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(images, training=True) ** 2)
        return tape.gradient(loss, network.trainable_variables)

    peak = peak_bytes(step.get_concrete_function(tf.TensorSpec([IMAGES, 56, 56, 3])).graph)
    gradients = 4 * sum(math.prod(each.shape) for each in network.trainable_variables)
    # At the peak, between none and all of the gradients exist beside the feature maps.
    maps = IMAGES * activation_bytes(network)
    assert 0.97 * (peak - gradients) <= maps <= 1.03 * peak
