"""The SavedModel export runs in TensorFlow's C++ loader and gives the encoder's embeddings there."""

import io
import shutil
import subprocess
import sys

import c_api
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data.images.decoding import decode_image
from tfface.export import load_embedder, saved_model, tflite


def embed(encoder, images):
    """The expected embeddings [N, 16], in NumPy from the encoder's output."""
    raw = encoder(np.asarray(images), training=False).numpy().astype(np.float64)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def encode(pixels, file_format):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def test_aligned_signature_in_cpp(encoder, export, images):
    many, one, none = c_api.run_signatures(export, [("aligned", {"image": images[:n]}) for n in (5, 1, 0)])
    assert list(many) == ["embedding"]
    np.testing.assert_allclose(many["embedding"], embed(encoder, images), atol=1e-5)
    np.testing.assert_allclose(one["embedding"], embed(encoder, images[:1]), atol=1e-5)
    assert none["embedding"].shape == (0, 16)


def test_serving_default_signature_in_cpp(encoder, export):
    rng = np.random.default_rng(4)
    colour = rng.integers(0, 256, [56, 56, 3], np.uint8)
    grey = rng.integers(0, 256, [56, 56], np.uint8)
    other_size = rng.integers(0, 256, [40, 90, 3], np.uint8)
    files = [encode(colour, "PNG"), encode(grey, "PNG"), encode(colour, "JPEG"), encode(grey, "JPEG")]
    files += [encode(other_size, "PNG"), encode(other_size, "JPEG")]
    requests = [files, [], [files[0], files[0][:200]], [b"no image"], files[:1]]
    batch, none, truncated, foreign, good = c_api.run_signatures(
        export, [("serving_default", {"image_bytes": request}) for request in requests]
    )
    assert list(batch) == ["embedding"]
    decoded = [decode_image(file, (56, 56)) for file in files]
    np.testing.assert_allclose(batch["embedding"], embed(encoder, decoded), atol=1e-5)
    # PNG is lossless, so the pixels are known without the library's own decoder.
    lossless = np.stack([colour, np.repeat(grey[..., None], 3, axis=2)]) / 127.5 - 1
    np.testing.assert_allclose(batch["embedding"][:2], embed(encoder, lossless), atol=1e-5)
    assert none["embedding"].shape == (0, 16)
    # A bad image fails its own request, in words about images, and the next request succeeds.
    assert "Invalid PNG data" in truncated
    assert "not a JPEG or PNG image" in foreign
    np.testing.assert_allclose(good["embedding"], batch["embedding"][:1], atol=1e-6)


@pytest.mark.parametrize("write", [saved_model, tflite])
def test_writing_brings_no_notice_of_temporary_folders(encoder, tmp_path, caplog, write):
    # An interactive session sets this level.
    logger = tf.get_logger()
    caplog.set_level("INFO", logger="tensorflow")
    logger.propagate, before = True, logger.propagate
    try:
        write(encoder, tmp_path / "written")
        assert [record.getMessage() for record in caplog.records if record.name == "tensorflow"] == []
        tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
        assert "Assets written to" in caplog.text
    finally:
        logger.propagate = before


def test_plain_tensorflow_save_fails_in_cpp(encoder, tmp_path, images):
    # Shows that the harness can fail, and why the library does not export this way.
    signature = tf.function(
        lambda image: {"embedding": encoder(image, training=False)},
        input_signature=[tf.TensorSpec([None, 56, 56, 3], tf.float32, "image")],
    )
    tf.saved_model.save(encoder, str(tmp_path / "1"), signatures=signature)
    (result,) = c_api.run_signatures(tmp_path / "1", [("serving_default", {"image": images})])
    assert isinstance(result, str)
    assert "Could not find variable" in result


def test_exports_the_encoder_variables_only(encoder, export):
    variables = tf.train.list_variables(str(export / "variables" / "variables"))
    saved = sorted(shape for name, shape in variables if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
    assert saved == sorted(list(weight.shape) for weight in encoder.weights)


def test_loads_in_python_without_tfface(encoder, export, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    program = """
import sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
np.save("embedding.npy", loaded.signatures["aligned"](image=tf.constant(np.load("images.npy")))["embedding"])
sys.exit("tfface" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(export)], cwd=tmp_path, check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "embedding.npy"), embed(encoder, images), atol=1e-5)


def _linear_encoder(dtype, kernel):
    image = keras.Input((4, 4, 3))
    dense = keras.layers.Dense(2, use_bias=False, kernel_initializer=kernel, dtype=dtype)
    return keras.Model(image, dense(keras.layers.Flatten()(image)))


@pytest.mark.parametrize("weight", [100.0, 1e-4])
def test_normalises_half_precision_embeddings_in_float32(tmp_path, weight):
    # Both parts of the embedding are 48 * weight: representable in float16, but the larger one's square is not.
    saved_model(_linear_encoder("mixed_float16", keras.initializers.Constant(weight)), tmp_path / "1")
    embedding = load_embedder(tmp_path / "1")(np.ones([1, 4, 4, 3], np.float32))
    np.testing.assert_allclose(embedding, [[0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_zero_embedding_stays_zero(tmp_path):
    saved_model(_linear_encoder("float32", "zeros"), tmp_path / "1")
    np.testing.assert_array_equal(load_embedder(tmp_path / "1")(np.ones([1, 4, 4, 3], np.float32)), [[0, 0]])


@pytest.mark.parametrize("damage", ["half a graph", "empty variables", "no variables", "another signature"])
def test_damaged_folders_are_named(encoder, tmp_path, damage):
    path = tmp_path / "face" / "1"
    saved_model(encoder, path)
    if damage == "half a graph":
        content = (path / "saved_model.pb").read_bytes()
        (path / "saved_model.pb").write_bytes(content[: len(content) // 2])
    elif damage == "empty variables":
        next(path.glob("variables/*.data*")).write_bytes(b"")
    elif damage == "no variables":
        shutil.rmtree(path / "variables")
    else:
        module = tf.Module()
        module.call = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], name="x")])
        tf.saved_model.save(module, str(path), {"aligned": module.call})
    with pytest.raises(ValueError, match="SavedModel '.*face/1'.* (is damaged or not complete|must take 'image')"):
        load_embedder(path)


def test_refuses_an_existing_path(encoder, tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path.name}.* exists"):
        saved_model(encoder, tmp_path)


class _Subclassed(keras.Model):
    def call(self, image):
        return image[:, 0, 0, :]


@pytest.mark.parametrize(
    "model",
    [
        keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]),
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]),
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]),
        _Subclassed(),
    ],
    ids=["any size", "one channel", "feature map", "subclassed"],
)
def test_refuses_other_models(model, tmp_path):
    with pytest.raises(ValueError, match="encoder must be"):
        saved_model(model, tmp_path / "1")
    assert not list(tmp_path.iterdir())


def test_failure_leaves_nothing_behind(encoder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        saved_model(encoder, tmp_path / "1")
    assert not list(tmp_path.iterdir())


def test_leaves_only_the_export_readable_like_any_folder(export):
    assert list(export.parent.iterdir()) == [export]
    (ordinary := export.parent.parent / "ordinary").mkdir()
    assert export.stat().st_mode == ordinary.stat().st_mode
