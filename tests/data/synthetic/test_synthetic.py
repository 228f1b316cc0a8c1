import hashlib
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfface.data.synthetic import rendering, scene
from tfface.data.synthetic.pose import Pose
from tfface.data.synthetic.rendering import LANDMARK_COLUMNS, render_face, write_folder

REFERENCE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])


def hashes(root):
    files = sorted(path for path in pathlib.Path(root).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def luminance_at(image, point, radius):
    x, y = np.round(point).astype(int)
    return image[y - radius : y + radius + 1, x - radius : x + radius + 1].mean()


@pytest.fixture(scope="module")
def images_and_landmarks():
    """300 faces of 60 identities: images [60, 5, 64, 64, 3] and landmarks [60, 5, 5, 2]."""
    drawn = [[render_face(3, identity, index, size=64) for index in range(5)] for identity in range(60)]
    return tuple(np.array([[face[part] for face in row] for row in drawn]) for part in (0, 1))


def test_types_and_ranges():
    image, landmarks = render_face(0, 0, 0, size=48)
    assert image.shape == (48, 48, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert landmarks.shape == (5, 2) and landmarks.dtype == np.float32
    assert render_face(0, 0, 0)[0].shape == (112, 112, 3)


def test_bytes_depend_only_on_the_key():
    keys = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (0, 1, 0), (0, 0, 0), (0, 12, 0), (0, 1, 20)]
    first = {key: render_face(*key, size=40)[0].tobytes() for key in keys}
    again = {key: render_face(*key, size=40)[0].tobytes() for key in reversed(keys)}
    assert first == again
    assert len(set(first.values())) == len(keys)


def test_same_scene_at_every_size():
    large, landmarks = render_face(0, 5, 1, size=112)
    small, small_landmarks = render_face(0, 5, 1, size=56)
    np.testing.assert_allclose(small_landmarks, (landmarks + 0.5) / 2 - 0.5, atol=1e-3)
    shrunk = large.reshape(56, 2, 56, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 12


def test_landmarks_lie_near_the_reference_but_move(images_and_landmarks):
    landmarks = (images_and_landmarks[1].reshape(-1, 5, 2) + 0.5) * 112 / 64 - 0.5
    np.testing.assert_allclose(landmarks.mean(axis=0), REFERENCE, atol=2.5)
    assert (landmarks.std(axis=0) > 1).all() and (landmarks.std(axis=0) < 8).all()


def test_eyes_are_drawn_at_their_landmarks():
    """The iris is darker than the white of the eye and the cheek, at the landmark and not beside it."""
    darker_than_cheek, darker_than_shifted = [], []
    for identity in range(80):
        image, landmarks = render_face(9, identity, 0)
        for eye, corner in ((0, 3), (1, 4)):
            cheek = landmarks[eye] + 0.5 * (landmarks[corner] - landmarks[eye])
            iris = luminance_at(image, landmarks[eye], 1)
            darker_than_cheek.append(iris < luminance_at(image, cheek, 1))
            beside = [landmarks[eye] + (0, shift) for shift in (8, -8)]
            darker_than_shifted.append(iris < min(luminance_at(image, point, 1) for point in beside))
    assert np.mean(darker_than_cheek) > 0.93
    assert np.mean(darker_than_shifted) > 0.78


def test_mouth_corners_end_the_lips():
    """Along the line of the mouth, the image is darker between the corners than beyond them."""
    darker = []
    for identity in range(80):
        image, landmarks = render_face(11, identity, 0)
        left, right = landmarks[3], landmarks[4]
        inner = [left + share * (right - left) for share in (0.12, 0.88)]
        outer = [left + share * (right - left) for share in (-0.25, 1.25)]
        darker += [luminance_at(image, a, 1) < luminance_at(image, b, 1) for a, b in zip(inner, outer, strict=True)]
    assert np.mean(darker) > 0.73


def test_yaw_moves_the_nose_and_the_head():
    """A head turned to the right of the image moves its nose tip there and shows less of that side."""

    def pose(yaw):
        who = scene.person(0, 0)
        shot = scene.shot_of(np.random.default_rng(0), who)
        shot.yaw, shot.pitch, shot.roll, shot.shift = yaw, 0.0, 0.0, 0j
        return Pose(who, shot, 112).landmarks

    left, front, right = (points[2, 0] - points[:2, 0].mean() for points in map(pose, (-0.5, 0.0, 0.5)))
    assert abs(front) < 0.5 and right > 4 and left < -4


def test_nuisance_dominates_pixels_but_identity_is_there(images_and_landmarks):
    images = images_and_landmarks[0].reshape(60, 5, -1).astype(np.float32)
    images -= images.mean(axis=-1, keepdims=True)
    images /= np.linalg.norm(images, axis=-1, keepdims=True)
    genuine = np.concatenate([(images[:, a] * images[:, b]).sum(-1) for a in range(5) for b in range(a)])
    impostor = np.concatenate([(images[:-1, a] * images[1:, b]).sum(-1) for a in range(5) for b in range(a)])
    thresholds = np.quantile(np.concatenate([genuine, impostor]), np.linspace(0.02, 0.98, 49))
    accuracy = max(((genuine > t).mean() + (impostor <= t).mean()) / 2 for t in thresholds)
    assert 0.52 < accuracy < 0.68


def test_folder_does_not_depend_on_workers(tmp_path):
    done = []
    write_folder(tmp_path / "one", 3, 2, size=32, seed=4, progress=done.append)
    write_folder(tmp_path / "deep" / "two", 3, 2, size=32, seed=4, workers=2)
    assert done == [1] * 6
    assert len(hashes(tmp_path / "one")) == 7
    assert hashes(tmp_path / "one") == hashes(tmp_path / "deep" / "two")
    write_folder(tmp_path / "other", 3, 2, size=32, seed=5)
    assert not set(hashes(tmp_path / "one").values()) & set(hashes(tmp_path / "other").values())


def test_folder_holds_what_render_face_returns(tmp_path):
    write_folder(tmp_path / "faces", 2, 2, size=40, seed=1)
    table = pd.read_csv(tmp_path / "faces" / "landmarks.csv")
    assert list(table.columns) == ["path", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4", "x5", "y5"]
    assert list(table["path"]) == [f"id_0000{i}/00{j}.png" for i in range(2) for j in range(2)]
    image, landmarks = render_face(1, 1, 0, size=40)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "faces" / table["path"][2])), image)
    np.testing.assert_allclose(table.loc[2, LANDMARK_COLUMNS].to_numpy(float).reshape(5, 2), landmarks, atol=1e-3)


def test_existing_root_is_refused(tmp_path):
    (tmp_path / "faces").mkdir()
    with pytest.raises(ValueError, match="faces"):
        write_folder(tmp_path / "faces", 1, 1, size=32)
    assert not list((tmp_path / "faces").iterdir())


def test_nothing_is_left_behind_by_a_failure(tmp_path, monkeypatch):
    def failing(seed, identity, index, size):
        if identity == 1:
            raise RuntimeError("no more ink")
        return render_face(seed, identity, index, size)

    monkeypatch.setattr(rendering, "render_face", failing)
    with pytest.raises(RuntimeError, match="no more ink"):
        write_folder(tmp_path / "faces", 3, 1, size=32)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_behind_by_a_failing_process(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_write_identity", len_of_number)
    with pytest.raises(TypeError):
        write_folder(tmp_path / "faces", 2, 1, size=32, workers=2)
    assert not list(tmp_path.iterdir())


def len_of_number(job):
    """Fails in a worker; at module level, where a spawned process finds it."""
    return len(job[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_left_behind_by_an_interrupt(tmp_path, workers):
    def interrupt(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "faces", 6, 1, size=32, workers=workers, progress=interrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change", [{"size": 31}, {"identities": 0}, {"images_per_identity": 0}, {"workers": 0}, {"seed": -1}]
)
def test_bad_numbers_are_named(tmp_path, change):
    arguments = {"identities": 1, "images_per_identity": 1, "size": 32, **change}
    with pytest.raises(ValueError, match=str(next(iter(change.values())))):
        write_folder(tmp_path / "faces", **arguments)
    assert not list(tmp_path.iterdir())


def test_workers_end_with_a_killed_parent(tmp_path):
    code = """
import sys
from tfface.data.synthetic import rendering
rendering.write_folder(sys.argv[1], 9999, 9, 56, 0, 2, lambda _: print("one", flush=True))
"""
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "faces"], stdout=subprocess.PIPE)
    assert process.stdout.readline()
    process.kill()
    # Workers inherit the output, which ends with the last of them.
    process.communicate(timeout=60)
