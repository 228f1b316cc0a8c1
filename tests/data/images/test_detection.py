"""Detection with the optional package: on drawn faces and on photographs with annotated points."""

import sys

import numpy as np
import pytest
from PIL import Image

from tfface.data.formats.cfp_fiducials import read_cfp_fiducials
from tfface.data.formats.landmarks import read_landmarks, write_landmarks
from tfface.data.images import detection
from tfface.data.synthetic.rendering import render_face


@pytest.fixture
def mtcnn():
    return pytest.importorskip("mtcnn", reason="detection is tested where the extra tfface[detection] is installed")


def photograph(identity):
    """A drawn face in a larger picture, and its landmarks."""
    image, landmarks = render_face(0, identity, 0, size=160)
    return np.pad(image, ((60, 60), (90, 30), (0, 0)), mode="edge"), landmarks + [90, 60]


def test_drawn_faces_are_found(mtcnn):
    for identity in (0, 1, 2):
        image, expected = photograph(identity)
        found = detection.detect_landmarks(image)
        assert np.abs(found - expected).max() < 0.07 * 160


def test_main_face_is_the_large_central_one(mtcnn):
    image, expected = photograph(1)
    small = np.asarray(Image.fromarray(photograph(2)[0]).resize((90, 90)))
    image = np.concatenate([np.pad(small, ((0, len(image) - 90), (0, 0), (0, 0))), image], axis=1)
    assert np.abs(detection.detect_landmarks(image) - expected - [90, 0]).max() < 0.07 * 160


@pytest.mark.parametrize("shape", [(1, 1), (30, 12), (24, 24), (200, 300)])
def test_no_face_is_none(mtcnn, shape):
    assert detection.detect_landmarks(np.full((*shape, 3), 128, np.uint8)) is None


def test_table_of_a_source_is_read_back(mtcnn, memory_source, tmp_path, picture):
    image, _ = photograph(0)
    Image.fromarray(image).save(tmp_path / "1.png")
    source = memory_source({"a/1.png": (tmp_path / "1.png").read_bytes(), "a/2.png": picture(0), "a/3.png": b"no"})
    found, missing = detection.detect_all(source)
    assert missing == [("a/2.png", "no face found"), ("a/3.png", "not a JPEG or PNG image")]
    write_landmarks(tmp_path / "landmarks.csv", found)
    table = read_landmarks(tmp_path / "landmarks.csv")
    assert table.keys() == {"a/1.png"}
    np.testing.assert_array_equal(table["a/1.png"], detection.detect_landmarks(image).ravel())


def test_frontal_photographs_agree_with_marked_points(mtcnn, shared_data):
    root = shared_data / "cfp_raw" / "Data"
    points = read_cfp_fiducials(root / "Fiducials")
    errors = []
    for key in sorted(key for key in points if key.endswith("frontal/01.jpg")):
        image = np.asarray(Image.open(root / "Images" / key).convert("RGB"))
        found = detection.detect_landmarks(image)
        assert found is not None
        errors.append(np.nanmax(np.abs(found - np.reshape(points[key], (5, 2)))) / image.shape[1])
    assert len(errors) == 20 and np.median(errors) < 0.04 and max(errors) < 0.12


def test_weights_never_come_from_the_working_directory(mtcnn, tmp_path, monkeypatch):
    """The package would find a file of that name there, and unpickle it."""
    for net in ("pnet", "rnet", "onet"):
        (tmp_path / f"{net}.lz4").write_bytes(b"no weights")
    monkeypatch.chdir(tmp_path)
    detection._mtcnn.cache_clear()
    assert detection.detect_landmarks(photograph(0)[0]) is not None


def test_without_the_package_the_extra_is_named(monkeypatch, memory_source):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    detection._mtcnn.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'tfface\[detection\]'"):
        detection.detect_all(memory_source({}))
    detection._mtcnn.cache_clear()
