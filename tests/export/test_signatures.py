"""Every signature of the SavedModel, in TensorFlow's C++ loader, against NumPy and the encoder in memory."""

import io

import c_api
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data.conversion.convert import convert
from tfface.data.images.decoding import decode_image
from tfface.data.sources.aligned_source import AlignedSource
from tfface.data.sources.folders import FolderSource
from tfface.data.sources.records_source import RecordsSource
from tfface.data.synthetic.rendering import render_face, write_folder
from tfface.export import saved_model

NAN = float("nan")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embed(encoder, images, flip=False):
    """The expected embeddings, in float64 from the encoder's output."""

    def once(images):
        return unit(encoder(images, training=False).numpy().astype(np.float64))

    images = np.asarray(images)
    return unit(once(images) + once(images[:, :, ::-1])) if flip else once(images)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def faces():
    """Faces [6, 56, 56, 3] uint8 of three people, two images of each."""
    return np.stack([render_face(1, person, index, 56)[0] for person in range(3) for index in range(2)])


@pytest.fixture(scope="module")
def similarities(encoder, faces):
    """Similarities of the pairs (0, 1), ..., (4, 5) and (0, 0), with the flipped images."""
    vectors = embed(encoder, faces / 127.5 - 1, flip=True)
    return np.sum(vectors[[0, 2, 4, 0]] * vectors[[1, 3, 5, 0]], axis=1)


@pytest.fixture(scope="module")
def threshold(similarities):
    """A threshold that two of the four pairs reach."""
    return float(np.mean(np.sort(similarities)[1:3]))


@pytest.fixture(scope="module")
def flipped(encoder, threshold, tmp_path_factory):
    """SavedModel of the encoder with the flipped image and the threshold."""
    path = tmp_path_factory.mktemp("flipped") / "1"
    saved_model(encoder, path, flip=True, threshold=threshold)
    return path


def test_compare_gives_cosines_and_decisions(export, flipped, faces, encoder, similarities, threshold):
    files = [png(face) for face in faces]
    pairs = {"first_bytes": [files[i] for i in (0, 2, 4, 0)], "second_bytes": [files[i] for i in (1, 3, 5, 0)]}
    none = {"first_bytes": [], "second_bytes": []}
    uneven = {"first_bytes": files[:3], "second_bytes": files[:1]}
    bad = {"first_bytes": files[:2], "second_bytes": [files[0], files[0][:100]]}
    answer, empty, refused, failed = c_api.run_signatures(
        flipped, [("compare", inputs) for inputs in (pairs, none, uneven, bad)]
    )
    assert sorted(answer) == ["same", "similarity", "threshold"]
    np.testing.assert_allclose(answer["similarity"], similarities, atol=1e-5)
    assert answer["similarity"][3] == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(answer["same"], similarities >= threshold)
    assert answer["same"].sum() == 2
    np.testing.assert_allclose(answer["threshold"], [threshold] * 4, rtol=1e-6)
    assert {name: (value.shape, value.dtype.name) for name, value in empty.items()} == {
        "similarity": ((0,), "float32"),
        "same": ((0,), "bool"),
        "threshold": ((0,), "float32"),
    }
    assert "one row for each image" in refused
    assert "Invalid PNG data" in failed

    # Without a threshold there is only a similarity, and without the flipped image it differs.
    (answer,) = c_api.run_signatures(export, [("compare", pairs)])
    vectors = embed(encoder, faces / 127.5 - 1)
    plain = np.sum(vectors[[0, 2, 4, 0]] * vectors[[1, 3, 5, 0]], axis=1)
    assert list(answer) == ["similarity"]
    np.testing.assert_allclose(answer["similarity"], plain, atol=1e-5)
    assert np.abs(plain - similarities).max() > 1e-3


def test_flip_adds_the_mirrored_image_in_every_signature(encoder, flipped, images, faces):
    landmarks = np.tile(np.float32([[19, 25], [37, 25], [28, 36], [21, 46], [35, 46]]), [2, 1, 1])
    aligned, none, files, photographs = c_api.run_signatures(
        flipped,
        [
            ("aligned", {"image": images}),
            ("aligned", {"image": images[:0]}),
            ("serving_default", {"image_bytes": [png(face) for face in faces]}),
            ("detect_free_align", {"image_bytes": [png(f) for f in (faces[0], faces[0][:, ::-1])],
                                   "landmarks": np.stack([landmarks[0], mirror(landmarks[0], 56)])}),
        ],
    )  # fmt: skip
    np.testing.assert_allclose(aligned["embedding"], embed(encoder, images, flip=True), atol=1e-5)
    assert none["embedding"].shape == (0, 16)
    np.testing.assert_allclose(files["embedding"], embed(encoder, faces / 127.5 - 1, flip=True), atol=1e-5)
    # A flipped photograph gives the flipped face, except for rounding and a reference that is not quite symmetric.
    assert np.sum(np.prod(photographs["embedding"], axis=0)) > 0.99


def mirror(landmarks, width):
    return (np.float32([width - 1, 0]) + landmarks * np.float32([-1, 1]))[[1, 0, 2, 4, 3]]


def pixel_encoder(size):
    """Encoder whose embedding is the image itself, so that an export shows what its network sees."""
    copy = keras.layers.DepthwiseConv2D(1, use_bias=False, depthwise_initializer="ones")
    return keras.Sequential([keras.Input((*size, 3)), copy, keras.layers.Flatten()])


@pytest.mark.parametrize("size", [(112, 112), (56, 56), (168, 144)], ids=str)
def test_photographs_are_seen_as_training_saw_them(size, tmp_path):
    # The reference is the path of training data: the program align.py, in NumPy, then the decoder of the pipelines.
    write_folder(tmp_path / "photographs", identities=3, images_per_identity=2, size=160)
    source = FolderSource(tmp_path / "photographs")
    originals = {item.key: (source.read(item), np.reshape(item.landmarks, (5, 2))) for item in source.items()}
    convert(AlignedSource(source, image_size=112 if size[0] == size[1] else (112, 96)), tmp_path / "aligned")
    stored = RecordsSource(tmp_path / "aligned")
    faces = {item.key: decode_image(stored.read(item), size).numpy().ravel() for item in stored.items()}
    saved_model(pixel_encoder(size), tmp_path / "1")
    files, landmarks = zip(*(originals[key] for key in faces), strict=True)
    request = {"image_bytes": list(files), "landmarks": np.float32(landmarks)}
    (answer,) = c_api.run_signatures(tmp_path / "1", [("detect_free_align", request)])
    expected = np.stack(list(faces.values()))
    seen = answer["embedding"] * np.linalg.norm(expected, axis=1, keepdims=True)
    grey_levels = np.abs(seen - expected) * 127.5
    # Rounding to 8 bits may differ, in a few pixels, by one grey level: see test_alignment.py.
    assert grey_levels.max() < 1.05
    assert np.mean(grey_levels > 0.1) < 0.01


def test_landmarks_that_fix_no_alignment_fail_their_request(export):
    pixels, landmarks = render_face(1, 0, 0, 100)
    photograph = png(pixels)
    partly, unknown, equal = landmarks.copy(), np.full_like(landmarks, NAN), np.full_like(landmarks, 50)
    partly[2] = NAN

    def request(*landmarks, images=None):
        files = [photograph] * (len(landmarks) if images is None else images)
        return "detect_free_align", {"image_bytes": files, "landmarks": np.reshape(landmarks, [-1, 5, 2])}

    nothing, first, second, fewer, more, none, good = c_api.run_signatures(
        export,
        [
            request(landmarks, unknown),
            request(equal),
            ("detect_free_align", {"image_bytes": [photograph[:99]], "landmarks": landmarks[None]}),
            request(landmarks, images=2),
            request(landmarks, landmarks, images=1),
            request(),
            request(landmarks, partly),
        ],
    )
    for message in (nothing, first):
        assert "the landmarks fix no similarity transform" in message
    assert "Invalid PNG data" in second
    for message in (fewer, more):
        assert "one row for each image" in message
    assert none["embedding"].shape == (0, 16)
    assert good["embedding"].shape == (2, 16)
    # The fit to four points is nearly that to five.
    assert 0.9 < np.sum(np.prod(good["embedding"], axis=0)) < 1 - 1e-6


def test_a_network_of_another_shape_has_no_alignment(tmp_path):
    saved_model(pixel_encoder((64, 56)), tmp_path / "1")
    names = tf.saved_model.load(tmp_path / "1").signatures
    assert sorted(names) == ["aligned", "compare", "serving_default"]
