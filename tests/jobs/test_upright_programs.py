"""One photograph stored in all eight EXIF orientations is the same photograph to every program."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfface import data, export
from tfface.data.conversion.convert import convert
from tfface.data.curation.inspection import contact_sheet, summarise
from tfface.data.images import detection
from tfface.data.synthetic.rendering import render_face
from tfface.jobs import embed_images, thumbnails

VALUES = range(1, 9)
# The changes that each value undoes, as the EXIF standard defines them.
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


@pytest.fixture(scope="module")
def photograph():
    """(pixels of an upright photograph, landmarks of its face)."""
    image, landmarks = render_face(0, 1, 0, size=112)
    return np.pad(image, ((20, 30), (50, 10), (0, 0)), mode="edge"), landmarks + [50, 20]


@pytest.fixture(scope="module")
def photos(photograph, tmp_path_factory):
    """Folder of the photograph in all orientations, as PNG, which keeps the pixels."""
    root = tmp_path_factory.mktemp("photos")
    for value in VALUES:
        exif = Image.Exif()
        exif[0x0112] = value
        path = root / f"person{value % 2}" / f"{value}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(STORED[value](photograph[0]))).save(path, exif=exif)
        with Image.open(path) as image:
            np.testing.assert_array_equal(ImageOps.exif_transpose(image), photograph[0])
    return root


@pytest.fixture(scope="module")
def landmarks(photograph, photos):
    return {item.key: tuple(photograph[1].ravel()) for item in data.FolderSource(photos).items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((56, 56, 3)), keras.layers.Conv2D(4, 5, strides=4), keras.layers.Flatten()]
    path = tmp_path_factory.mktemp("model") / "1"
    export.saved_model(keras.Sequential([*layers, keras.layers.Dense(8)]), path)
    return path


def equal(arrays):
    arrays = list(arrays)
    assert len(arrays) == len(VALUES)
    for array in arrays:
        np.testing.assert_array_equal(array, arrays[0])
    return arrays[0]


def test_detect_sees_upright_photographs(photograph, photos, monkeypatch):
    seen = []
    monkeypatch.setattr(detection, "_mtcnn", lambda: None)
    monkeypatch.setattr(detection, "detect_landmarks", lambda pixels: seen.append(pixels) or photograph[1])
    found, missing = detection.detect_all(data.FolderSource(photos))
    assert len(found) == 8 and missing == []
    np.testing.assert_array_equal(equal(seen), photograph[0])


def test_align_and_from_folder_store_upright_photographs(photograph, photos, landmarks, tmp_path):
    for name, source in (
        ("aligned", data.AlignedSource(data.FolderSource(photos), landmarks)),
        ("whole", data.FolderSource(photos)),
    ):
        convert(source, tmp_path / name, workers=1)
        records = data.RecordsSource(str(tmp_path / name))
        stored = equal(data.decode_pixels(records.read(item)) for item in records.items())
        expected = data.align(*photograph) if name == "aligned" else photograph[0]
        np.testing.assert_array_equal(stored, expected)


def test_embeddings_reports_and_sheets_are_of_upright_photographs(photos, model):
    embeddings = embed_images(model, photos)
    equal(embeddings.vectors)
    equal(
        np.asarray(Image.open(io.BytesIO(one))) for one in thumbnails.read_thumbnails(photos, embeddings.keys).values()
    )
    source = data.FolderSource(photos)
    sheet = np.asarray(contact_sheet(source, summarise(source, identities=2, images=4).samples))
    width = 4 * (112 + 4) + 4
    np.testing.assert_array_equal(sheet[4:116, -width:], sheet[120:232, -width:])


def test_signatures_take_upright_photographs(photos, model, photograph):
    files = [path.read_bytes() for path in sorted(photos.rglob("*.png"))]
    signatures = tf.saved_model.load(model).signatures
    whole = equal(signatures["serving_default"](image_bytes=tf.constant(files))["embedding"].numpy())
    points = tf.constant(np.float32([photograph[1]] * 8))
    face = equal(signatures["detect_free_align"](image_bytes=tf.constant(files), landmarks=points)["embedding"].numpy())
    pixels = tf.image.resize(photograph[0][None], [56, 56], antialias=True) / 127.5 - 1
    np.testing.assert_allclose(whole, signatures["aligned"](image=pixels)["embedding"][0], atol=1e-5)
    pixels = tf.image.resize(data.align(*photograph)[None], [56, 56], antialias=True) / 127.5 - 1
    np.testing.assert_allclose(face, signatures["aligned"](image=pixels)["embedding"][0], atol=1e-2)
