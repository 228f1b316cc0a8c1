"""Every backbone: shapes, published sizes, gradients that reach every weight, save and load."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import backbones

BACKBONES = {
    "mobilefacenet": backbones.MobileFaceNet,
    "sfnet20": backbones.SFNet20,
    "sfnet20_batch_norm": lambda *args: backbones.SFNet20(*args, with_batch_norm=True),
}
every_backbone = pytest.mark.parametrize("make", BACKBONES.values(), ids=BACKBONES.keys())


@every_backbone
@pytest.mark.parametrize("image_size", [56, 61, (112, 96)])
def test_any_image_size_gives_embeddings(make, image_size):
    model = make(24, image_size)
    assert model.output_shape == (None, 24)
    assert model.input_shape[1:3] == ((image_size, image_size) if isinstance(image_size, int) else image_size)


def test_published_parameter_counts():
    # MobileFaceNet's paper: 0.99 M weights at 112 px and 128 dimensions, a final 1×1 convolution included.
    # The weights of batch norm and PReLU counted, moving statistics not.
    model = backbones.MobileFaceNet(128, 112)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == pytest.approx(0.99e6, rel=0.02)
    # SphereFace, Table 2: 3 + 5 + 9 + 3 convolutions and a fully connected layer.
    model = backbones.SFNet20(512, (112, 96))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 20
    assert model.get_layer("embedding").kernel.shape == (512 * 7 * 6, 512)


@every_backbone
def test_gradient_reaches_every_weight(make):
    model = make(16, 56)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 56, 56, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) * np.linspace(-1, 1, 64).reshape(4, 16))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert gradient is not None and np.any(gradient), weight.path


@every_backbone
def test_save_and_load(make, tmp_path):
    model = make(16, 56)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 56, 56, 3)).astype(np.float32)
    model.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(model(images), again(images))


def test_strided_convolutions_pad_all_sides_alike():
    # A mirrored image must give the mirrored feature map; Keras' "same" padding would shift it.
    from tfface.backbones.layers import conv

    inputs = keras.Input((57, 57, 3))
    model = keras.Model(inputs, conv(inputs, 4, strides=2))
    kernel = model.layers[-1].kernel
    kernel.assign(kernel.numpy() + kernel.numpy()[:, ::-1])
    image = np.random.default_rng(0).normal(size=(1, 57, 57, 3)).astype(np.float32)
    np.testing.assert_allclose(model(image[:, :, ::-1]), model(image).numpy()[:, :, ::-1], atol=1e-5)


@pytest.mark.parametrize("make", BACKBONES.values(), ids=BACKBONES.keys())
def test_values_out_of_range_are_named(make):
    with pytest.raises(ValueError, match="at least 56 .* got 55"):
        make(16, 55)
    with pytest.raises(ValueError, match="got 0"):
        make(0, 56)
    with pytest.raises(ValueError, match="got -1"):
        backbones.MobileFaceNet(16, 56, width=-1)
