"""ONNX exports give the embeddings of the Keras model, in ONNX Runtime."""

import keras
import numpy as np
import pytest
from networks import built, expected

from tfface import backbones
from tfface.export import load_embedder, onnx

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
model_format = pytest.importorskip("onnx")

SIZE = 56


BUILD = {
    "MobileFaceNet": lambda: backbones.MobileFaceNet(64, SIZE, width=0.25),
    "SFNet20": lambda: backbones.SFNet20(64, SIZE),
    "small ViT": lambda: backbones.vit.ViT(64, 2, 64, SIZE),
    "IResNet18": lambda: backbones.IResNet18(512, SIZE),
    "IResNet50": lambda: backbones.IResNet50(512, SIZE),
    "InsightFaceMobileFaceNet": lambda: backbones.InsightFaceMobileFaceNet(512, SIZE),
    "ResNet50": lambda: backbones.ResNet50(512, SIZE),
    "ViTTiny": lambda: backbones.ViTTiny(512, SIZE),
}
QUICK = {"MobileFaceNet", "small ViT"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in BUILD])
def test_embeddings_are_those_of_the_keras_model(name, images, tmp_path):
    encoder = built(BUILD[name])
    onnx(encoder, tmp_path / "x.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
    embedder = load_embedder(tmp_path / "x.onnx")
    assert (embedder.image_size, embedder.embedding_dim) == ((SIZE, SIZE), encoder.output_shape[1])
    found = embedder(images)
    np.testing.assert_allclose(found, expected(encoder, images), atol=1e-4)
    for batch in (images[:1], images[:0], images[:3]):
        np.testing.assert_allclose(embedder(batch), found[: len(batch)], atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17])
def test_file_is_a_valid_model_of_its_opset(encoder, images, tmp_path, opset):
    onnx(encoder, tmp_path / "x.onnx", opset=opset)
    model = model_format.load(tmp_path / "x.onnx")
    model_format.checker.check_model(model, full_check=True)
    assert {each.version for each in model.opset_import if not each.domain} == {opset}
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    (image,), (embedding,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["N", SIZE, SIZE, 3])
    assert (embedding.name, embedding.type, embedding.shape) == ("embedding", "tensor(float)", ["N", 16])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], expected(encoder, images), atol=1e-5)


def test_images_may_have_their_channels_first(encoder, images, tmp_path):
    onnx(encoder, tmp_path / "x.onnx", layout="nchw")
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    (image,) = session.get_inputs()
    assert (image.name, image.shape) == ("image", ["N", 3, SIZE, SIZE])
    (found,) = session.run(None, {"image": images.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(found, expected(encoder, images), atol=1e-5)
    embedder = load_embedder(tmp_path / "x.onnx")
    assert embedder.image_size == (SIZE, SIZE)
    np.testing.assert_allclose(embedder(images), found, atol=1e-6)
    with pytest.raises(ValueError, match="`layout` must be 'nhwc' or 'nchw', got 'chw'"):
        onnx(encoder, tmp_path / "y.onnx", layout="chw")


def test_unknown_opset_is_refused(encoder, tmp_path):
    with pytest.raises(ValueError, match="999"):
        onnx(encoder, tmp_path / "x.onnx", opset=999)
    assert not list(tmp_path.iterdir())


def test_other_models_and_precisions_are_refused(tmp_path):
    image = keras.Input((8, 8, 3))
    half = keras.layers.Dense(4, dtype="mixed_bfloat16", name="half")
    for model, message in (
        (keras.Sequential([image, keras.layers.Flatten(), half]), "float32, got layer 'half' of bfloat16"),
        (keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]), "encoder must be"),
    ):
        with pytest.raises(ValueError, match=message):
            onnx(model, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def rewrite(path, change):
    model = model_format.load(path)
    change(model.graph)
    path.write_bytes(model.SerializeToString())


def rename_input(graph):
    for node in graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    graph.input[0].name = "picture"


def fix_batch(graph):
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def leave_size_open(graph):
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


@pytest.mark.parametrize("change", [rename_input, fix_batch, leave_size_open])
def test_other_networks_are_refused(encoder, tmp_path, change):
    onnx(encoder, tmp_path / "other.onnx")
    rewrite(tmp_path / "other.onnx", change)
    with pytest.raises(ValueError, match="other.onnx.* must take float32 'image'"):
        load_embedder(tmp_path / "other.onnx")


def test_weights_in_other_files_are_refused(encoder, tmp_path, monkeypatch):
    onnx(encoder, tmp_path / "x.onnx")
    monkeypatch.chdir(tmp_path)

    def point_elsewhere(graph):
        for weights in graph.initializer:
            if len(weights.raw_data) > 1000:
                (tmp_path / "secret").write_bytes(weights.raw_data)
                weights.ClearField("raw_data")
                weights.data_location = model_format.TensorProto.EXTERNAL
                weights.external_data.add(key="location", value="secret")

    rewrite(tmp_path / "x.onnx", point_elsewhere)
    assert (tmp_path / "secret").is_file()
    with pytest.raises(ValueError, match="x.onnx"):
        load_embedder(tmp_path / "x.onnx")


def test_damaged_files_are_refused(encoder, tmp_path):
    onnx(encoder, tmp_path / "x.onnx")
    data = (tmp_path / "x.onnx").read_bytes()
    for damaged in (b"", b"no network", data[8:], data[: len(data) // 2], data[: len(data) // 8]):
        (tmp_path / "bad.onnx").write_bytes(damaged)
        with pytest.raises(ValueError, match="bad.onnx"):
            load_embedder(tmp_path / "bad.onnx")
    with pytest.raises(ValueError, match="absent.onnx.* does not exist"):
        load_embedder(tmp_path / "absent.onnx")
