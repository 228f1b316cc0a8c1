"""TensorFlow Lite exports give the embeddings of the Keras model, in the interpreter."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import built, expected

from tfface import backbones
from tfface.export import load_embedder, tflite
from tfface.jobs.embedding import load_any_embedder

SIZE = 56


def smooth_images(count, seed):
    """Images of few colours, float32 [count, 56, 56, 3] in [-1, 1]: as faces do, they fill the range of activations."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, [count, 7, 7, 3])
    return np.clip(tf.image.resize(coarse, [SIZE, SIZE], "bicubic").numpy(), -1, 1)


BUILD = {
    "MobileFaceNet": lambda: backbones.MobileFaceNet(64, SIZE, width=0.25),
    "SFNet20": lambda: backbones.SFNet20(64, SIZE),
    "IResNet18": lambda: backbones.IResNet18(64, SIZE),
    "small ViT": lambda: backbones.vit.ViT(64, 2, 64, SIZE),
    "IResNet50": lambda: backbones.IResNet50(512, SIZE),
    "ResNet50": lambda: backbones.ResNet50(512, SIZE),
    "ViTTiny": lambda: backbones.ViTTiny(512, SIZE),
}
QUICK = {("MobileFaceNet", None), ("SFNet20", "int8"), ("small ViT", "float16"), ("small ViT", "int8")}
CASES = [
    pytest.param(name, quantize, marks=[] if (name, quantize) in QUICK else pytest.mark.slow)
    for name in BUILD
    for quantize in (None, "float16", "int8")
]


@pytest.mark.parametrize(("name", "quantize"), CASES)
def test_embeddings_are_those_of_the_keras_model(name, quantize, tmp_path):
    encoder, images = built(BUILD[name]), smooth_images(5, seed=2)
    calibration = [smooth_images(8, seed=seed) for seed in (0, 1)] if quantize == "int8" else None
    tflite(encoder, tmp_path / "x.tflite", quantize, calibration)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tflite"]
    embedder = load_embedder(tmp_path / "x.tflite")
    assert (embedder.image_size, embedder.embedding_dim) == ((SIZE, SIZE), encoder.output_shape[1])
    found, reference = embedder(images), expected(encoder, images)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    if quantize == "int8":
        cosines = np.sum(found * reference, axis=1)
        assert cosines.mean() >= 0.99
        # Fifty layers of random weights pass on more of the rounding than trained ones: 0.989 for IResNet50.
        assert cosines.min() >= (0.98 if name == "IResNet50" else 0.99)
    else:
        # Weights of float16 have eleven bits.
        np.testing.assert_allclose(found, reference, atol=1e-4 if quantize is None else 1e-3)
    for batch in (images[:1], images[:0], images[:3]):
        np.testing.assert_allclose(embedder(batch), found[: len(batch)], atol=1e-5)


@pytest.mark.slow
def test_mirrored_network_keeps_its_accuracy_in_int8(tmp_path):
    # Like exports with flip: the network sums the unit embeddings of the image and of its flip.
    encoder, images = built(BUILD["SFNet20"]), smooth_images(5, seed=2)
    image = keras.Input((SIZE, SIZE, 3))
    both = [keras.ops.normalize(encoder(each), axis=-1) for each in (image, keras.ops.flip(image, axis=2))]
    tflite(keras.Model(image, both[0] + both[1]), tmp_path / "x.tflite", "int8", [smooth_images(16, seed=0)])
    total = expected(encoder, images) + expected(encoder, images[:, :, ::-1])
    total /= np.linalg.norm(total, axis=1, keepdims=True)
    assert np.sum(load_embedder(tmp_path / "x.tflite")(images) * total, axis=1).min() >= 0.99


@pytest.mark.filterwarnings("ignore::UserWarning")  # That this interpreter will go.
def test_file_needs_nothing_but_its_signature(encoder, images, tmp_path):
    tflite(encoder, tmp_path / "x.tflite")
    interpreter = tf.lite.Interpreter(model_path=str(tmp_path / "x.tflite"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["embedding"]}}
    run = interpreter.get_signature_runner("serving_default")
    np.testing.assert_allclose(run(image=images)["embedding"], expected(encoder, images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "ViTTiny"])
def test_what_int8_leaves_in_float_matters(name, tmp_path, monkeypatch):
    encoder, images = built(BUILD[name]), smooth_images(5, seed=2)
    reference = expected(encoder, images)

    def embed():
        tflite(encoder, tmp_path / "x.tflite", "int8", [smooth_images(16, seed=0)])
        return load_embedder(tmp_path / "x.tflite")(images)

    mixed = embed()
    module = sys.modules[tflite.__module__]  # Not by its name, which the function bears too.
    for names in ("_FLOAT", "_FLOAT_RESCALING"):
        monkeypatch.setattr(module, names, [])
    pure = embed()
    lengths = np.linalg.norm(pure, axis=1)
    assert np.abs(lengths - 1).max() > 1e-4
    assert np.sum(pure * reference, axis=1).mean() / lengths.mean() < np.sum(mixed * reference, axis=1).mean()


IMAGES = np.zeros([2, SIZE, SIZE, 3], np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantize": "int4"}, "`quantize` must be.*'int4'"),
        ({"quantize": "int8"}, "'int8' needs `calibration`: batches"),
        ({"quantize": "float16", "calibration": [IMAGES]}, "`calibration` belongs to 'int8'"),
        ({"quantize": "int8", "calibration": []}, "no images"),
        ({"quantize": "int8", "calibration": [IMAGES[0]]}, "must give float32 batches"),
        ({"quantize": "int8", "calibration": [IMAGES[:, :50]]}, "must give float32 batches"),
        ({"quantize": "int8", "calibration": [IMAGES.astype(np.uint8)]}, "must give float32 batches.*uint8"),
        ({"quantize": "int8", "calibration": [IMAGES + 255]}, "must give float32 batches.*255"),
    ],
)
def test_wrong_arguments_are_refused(encoder, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        tflite(encoder, tmp_path / "x.tflite", **arguments)
    assert not list(tmp_path.iterdir())


def test_other_precision_is_refused(tmp_path):
    image = keras.Input((SIZE, SIZE, 3))
    dense = keras.layers.Dense(4, dtype="mixed_float16", name="half")
    inner = keras.Sequential([keras.layers.Flatten(), dense])
    with pytest.raises(ValueError, match="float32, got layer 'half' of float16"):
        tflite(keras.Model(image, inner(image)), tmp_path / "x.tflite")


def test_other_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="encoder must be"):
        tflite(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]), tmp_path / "x.tflite")


def test_failed_write_keeps_the_old_file(encoder, tmp_path, monkeypatch):
    (tmp_path / "x.tflite").write_bytes(b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        tflite(encoder, tmp_path / "x.tflite")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def other_file(tmp_path, name, embed, shape, output="embedding"):
    """A `.tflite` file of another function."""
    function = tf.function(lambda image: {output: embed(image)}, input_signature=[tf.TensorSpec(shape, name=name)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    return tmp_path / "other.tflite"


def flat(image):
    return tf.reshape(image, [-1, 48])


@pytest.mark.parametrize(
    ("name", "embed", "shape", "output"),
    [
        ("picture", flat, [None, 4, 4, 3], "embedding"),
        ("image", flat, [None, 4, 4, 3], "features"),
        ("image", flat, [None, 12, 4], "embedding"),
        ("image", tf.identity, [None, 4, 4, 3], "embedding"),
    ],
)
def test_other_networks_are_refused(tmp_path, name, embed, shape, output):
    with pytest.raises(ValueError, match="other.tflite.* must take float32 'image'"):
        load_embedder(other_file(tmp_path, name, embed, shape, output))


def test_damaged_files_are_refused(encoder, tmp_path):
    tflite(encoder, tmp_path / "x.tflite")
    data = (tmp_path / "x.tflite").read_bytes()
    for damaged in (b"", b"no network", data[:4] + data[8:], data[: len(data) // 2], data[: len(data) // 8]):
        (tmp_path / "bad.tflite").write_bytes(damaged)
        with pytest.raises(ValueError, match="bad.tflite"):
            load_embedder(tmp_path / "bad.tflite")
    with pytest.raises(ValueError, match="absent.tflite.* does not exist"):
        load_embedder(tmp_path / "absent.tflite")


def test_programs_that_embed_take_the_file(encoder, images, tmp_path):
    tflite(encoder, tmp_path / "x.tflite")
    np.testing.assert_allclose(
        load_any_embedder(str(tmp_path / "x.tflite"))(images), expected(encoder, images), atol=1e-5
    )
