"""TensorFlow Lite exports give the embeddings of the Keras model, in the interpreter."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import backbones
from tfface.export import load_embedder, tflite

SIZE = 56


def smooth_images(count, seed):
    """Images of few colours, float32 [count, 56, 56, 3] in [-1, 1]: as faces do, they fill the range of activations."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, [count, 7, 7, 3])
    return np.clip(tf.image.resize(coarse, [SIZE, SIZE], "bicubic").numpy(), -1, 1)


def randomised(encoder, seed=5):
    """The encoder, with weights and statistics under which images have different embeddings."""
    rng = np.random.default_rng(seed)
    for weight in encoder.weights:
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.2, weight.shape))
        elif "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return encoder


def expected(encoder, images):
    """The embeddings of the Keras model, normalised by NumPy."""
    raw = encoder(images, training=False).numpy().astype(np.float64)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


SMALL = {
    "MobileFaceNet": lambda: backbones.MobileFaceNet(64, SIZE, width=0.25),
    "SFNet20": lambda: backbones.SFNet20(64, SIZE),
    "IResNet18": lambda: backbones.IResNet18(64, SIZE),
    "ViT": lambda: backbones.vit.ViT(64, 2, 64, SIZE),
}
DEEP = {name: lambda name=name: getattr(backbones, name)(512, SIZE) for name in ("IResNet50", "ResNet50", "ViTTiny")}
BUILD = {**SMALL, **DEEP}
NAMES = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in DEEP)]


@pytest.fixture(scope="module")
def built():
    made = {}

    def get(name):
        if name not in made:
            keras.utils.set_random_seed(3)
            made[name] = randomised(BUILD[name]())
        return made[name]

    return get


@pytest.mark.parametrize("quantize", [None, "float16", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_those_of_the_keras_model(built, name, quantize, tmp_path):
    encoder, images = built(name), smooth_images(5, seed=2)
    calibration = [smooth_images(8, seed=seed) for seed in (0, 1)] if quantize == "int8" else None
    tflite(encoder, tmp_path / "x.tflite", quantize, calibration)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tflite"]
    embedder = load_embedder(tmp_path / "x.tflite")
    assert (embedder.image_size, embedder.embedding_dim) == ((SIZE, SIZE), encoder.output_shape[1])
    found, reference = embedder(images), expected(encoder, images)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    if quantize == "int8":
        assert np.sum(found * reference, axis=1).min() >= 0.99
    else:
        # Weights of float16 have eleven bits.
        np.testing.assert_allclose(found, reference, atol=1e-4 if quantize is None else 1e-3)
    for batch in (images[:1], images[:0], images[:3]):
        np.testing.assert_allclose(embedder(batch), found[: len(batch)], atol=1e-5)
