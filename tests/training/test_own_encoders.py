"""Encoders of one's own: what docs/keras.md says of them, and networks of grey images from records to exports."""

import keras
import numpy as np
import pytest
from PIL import Image

import tfface
from tfface import backbones, data, export, heads

SIDE = 32


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Records of three people: grey PNG files, and as many colour ones."""
    folder = tmp_path_factory.mktemp("grey")
    for person in range(3):
        (folder / "faces" / f"{person}").mkdir(parents=True)
        for number in range(4):
            face = Image.fromarray(data.render_face(0, person, number, SIDE)[0])
            (face if number % 2 else face.convert("L")).save(folder / "faces" / f"{person}" / f"{number}.png")
    data.convert_folder(folder / "faces", folder / "records")
    return folder / "records"


def one_channel():
    """A network of images with one channel."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((SIDE, SIDE, 1)), keras.layers.Conv2D(4, 3, strides=2), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(8), keras.layers.BatchNormalization()])


def behind_greyscale(network):
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, network(backbones.Greyscale()(inputs)))


def test_grey_values_are_those_of_pillow():
    face = data.render_face(0, 1, 0, SIDE)[0]
    found = np.array(backbones.Greyscale()(face[None].astype(np.float32)))[0, :, :, 0]
    np.testing.assert_allclose(found, np.asarray(Image.fromarray(face).convert("L"), np.float32), atol=1)
    grey = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 4, 1)
    np.testing.assert_allclose(backbones.Greyscale()(grey.repeat(3, axis=3)), grey, atol=1e-6)


def test_a_grey_network_trains_on_records_and_exports(records, tmp_path):
    network = one_channel()
    model = tfface.FaceModel(behind_greyscale(network), heads.CosFace(3, scale=8.0))
    model.compile(keras.optimizers.SGD(0.01))
    history = model.fit(data.train_dataset(records, 6, SIDE, epochs=1), epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.encoder.save(tmp_path / "encoder.keras")
    (batch,) = data.eval_dataset(records, 12, SIDE)
    images = batch["image"].numpy()
    # Rows of grey files have three equal channels, so one of them is what the network itself takes.
    is_grey = (np.ptp(images, axis=3) == 0).all(axis=(1, 2))
    assert is_grey.sum() == 6
    expected = network.predict(images[is_grey, :, :, :1], verbose=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    export.saved_model(model.encoder, tmp_path / "faces" / "1")
    export.tflite(model.encoder, tmp_path / "faces.tflite")
    loaded = [export.load_embedder(tmp_path / "faces" / "1"), export.load_embedder(tmp_path / "faces.tflite")]
    loaded.append(export.encoder_embedder(keras.models.load_model(tmp_path / "encoder.keras")))
    for embedder in loaded:
        np.testing.assert_allclose(embedder(images[is_grey]), expected, atol=1e-5)


def test_a_bare_one_channel_network_is_refused_with_the_remedy(records, tmp_path):
    model = tfface.FaceModel(one_channel(), heads.CosFace(3))
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"begins with tfface.backbones.Greyscale\(\)"):
        model.fit(data.train_dataset(records, 6, SIDE, epochs=1), verbose=0)
    with pytest.raises(ValueError, match=r"begins with tfface.backbones.Greyscale\(\)"):
        export.saved_model(one_channel(), tmp_path / "faces" / "1")


def test_what_the_page_says_of_other_encoders(tmp_path):
    class Subclassed(keras.Model):
        def call(self, images):
            return keras.ops.mean(images, axis=(1, 2))

    inputs = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(4, 3)(inputs)
    with pytest.raises(ValueError, match="does not know its shapes"):
        tfface.FaceModel(Subclassed(), heads.CosFace(3))
    with pytest.raises(ValueError, match=r"must return embeddings \[B, d\]"):
        tfface.FaceModel(keras.Model(inputs, maps), heads.CosFace(3))
    with pytest.warns(UserWarning, match="add keras.layers.BatchNormalization"):
        tfface.FaceModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), heads.CosFace(3))
    any_size = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.GlobalAveragePooling2D()(maps)))
    model = tfface.FaceModel(any_size, heads.CosFace(3))
    model.compile("sgd")
    model.fit(np.zeros((4, 8, 9, 3), np.float32), np.arange(4) % 3, verbose=0)
    with pytest.raises(ValueError, match="with H, W and D fixed"):
        export.saved_model(any_size, tmp_path / "faces" / "1")
