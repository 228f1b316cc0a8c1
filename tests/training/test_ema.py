"""The moving average of the encoder's weights against one computed beside the training."""

import keras
import numpy as np
import pytest

import tfface
from tfface import backbones, heads
from tfface.training.checkpoints.saving import Checkpoints, restore_encoder

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(24, 6, 6, 3)).astype(np.float32), RNG.integers(0, 7, 24)


def make_model(ema_momentum=0.5):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(5),
        ]
    )
    model = tfface.FaceModel(encoder, heads.ArcFace(7, scale=8.0), ema_momentum=ema_momentum)
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def weights(model):
    return [weight.numpy() for weight in model.weights]


def fit(model, steps=1):
    model.fit(IMAGES, LABELS, batch_size=24, epochs=steps, shuffle=False, verbose=0)


@pytest.mark.parametrize("replicas", [1, 2])
def test_average_follows_the_encoder(replicas, mirrored):
    with mirrored(replicas).scope():
        model = make_model()
    expected = weights(model.encoder)
    for step in range(1, 5):
        fit(model)
        momentum = min(0.5, (1 + step) / (10 + step))
        expected = [
            momentum * old + (1 - momentum) * new for old, new in zip(expected, weights(model.encoder), strict=True)
        ]
        for ours, theirs in zip(weights(model.ema_encoder), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert any(
        np.abs(ours - theirs).max() > 1e-3 for ours, theirs in zip(expected, weights(model.encoder), strict=True)
    )


def test_training_does_not_see_the_average():
    models = [make_model(0.9), make_model(0.0)]
    for model in models:
        fit(model, 3)
    for ours, theirs in zip(*(weights(model.encoder) for model in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert models[0].final_encoder is models[0].ema_encoder and models[1].final_encoder is models[1].encoder
    assert len(models[0].trainable_variables) == len(models[1].trainable_variables)


def test_average_is_in_files_and_checkpoints(tmp_path):
    model = make_model()
    fit(model, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    Checkpoints(tmp_path, model).save(3)
    resumed = make_model()
    resumed.optimizer.build(resumed.trainable_variables)
    assert Checkpoints(tmp_path, resumed).restore() == 3
    alone = make_model(0.0).encoder
    restore_encoder(alone, tmp_path)
    for other in (again.ema_encoder, resumed.ema_encoder, alone):
        for ours, theirs in zip(weights(other), weights(model.ema_encoder), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["MobileFaceNet", "IResNet18", "SFNet20", "ViTTiny"])
def test_every_kind_of_backbone_can_be_averaged(name):
    model = tfface.FaceModel(getattr(backbones, name)(8, 56), heads.ArcFace(7), ema_momentum=0.9)
    names = [[weight.path.split("/")[-2:] for weight in each.weights] for each in (model.encoder, model.ema_encoder)]
    assert names[0] == names[1]
    images = RNG.uniform(-1, 1, (2, 56, 56, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.encoder(images), model.ema_encoder(images))


def test_momentum_out_of_range():
    with pytest.raises(ValueError, match="ema_momentum .* got 1.0"):
        make_model(1.0)
