"""Foreign `.keras` files: what is not a network of known layers ends in a ValueError that names the file, unrun."""

import io
import json
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tfface.training.keras_files import load_model


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "good.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu")]).save(path)
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, content, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def with_layer(good, path, **changes):
    content = members(good)
    config = json.loads(content["config.json"])
    config["config"]["layers"][1].update(changes)
    return write(path, content | {"config.json": json.dumps(config)})


def test_good_files_are_loaded(good):
    model = load_model(good)
    expected = keras.models.load_model(good)
    images = np.ones([2, 4], np.float32)
    np.testing.assert_array_equal(model.predict(images, verbose=0), expected.predict(images, verbose=0))


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_what_is_missing_is_named(good, tmp_path, name):
    content = members(good)
    del content[name]
    with pytest.raises(ValueError, match=rf"a\.keras: not a \.keras file, it has no {name}"):
        load_model(write(tmp_path / "a.keras", content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "not a zip archive"),
        (lambda data: data[: len(data) // 2], "not a zip archive"),
        (lambda data: b"\x89HDF\r\n\x1a\n" + data[8:100], "not a zip archive"),
    ],
)
def test_what_is_not_an_archive_is_named(good, tmp_path, change, message):
    (tmp_path / "a.keras").write_bytes(change(good.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.keras: {message}"):
        load_model(tmp_path / "a.keras")
    os.mkfifo(tmp_path / "fifo.keras")
    with pytest.raises(ValueError, match=r"fifo\.keras: not a regular file"):
        load_model(tmp_path / "fifo.keras")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected an object, got a list"),
        ("{}", "expected an object with "),
        ('{"module": null, "class_name": 3, "config": {}}', "class_name: expected a string"),
        ("[" * 10_000, "not JSON"),
        ('{"module": "keras.models", "class_name": "Sequential", "config": {"layers": 3}}', "can be read|expected"),
    ],
)
def test_other_configurations_are_named(good, tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"a\.keras.*({message})"):
        load_model(write(tmp_path / "a.keras", members(good) | {"config.json": text}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"class_name": "Mine", "module": "mine", "registered_name": "mine>Mine"},
            "class 'mine>Mine' is not registered",
        ),
        ({"class_name": "Mine", "module": None, "registered_name": None}, "class 'Mine' is not registered"),
        ({"class_name": "Gone", "module": "tfface.heads.gone", "registered_name": "tfface>Gone"}, "this version"),
        ({"class_name": "Lambda", "config": {}}, "Lambda would run code"),
        ({"class_name": "__lambda__", "config": {}}, "__lambda__ would run code"),
        ({"class_name": "function", "module": "keras.utils", "config": "get_file"}, "'get_file' is not registered"),
        ({"class_name": "get_file", "module": "keras.utils"}, "'get_file' is not registered"),
    ],
)
def test_unknown_classes_are_named_and_nothing_is_imported(good, tmp_path, monkeypatch, changes, message):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("open('ran', 'w').close()\n")
    with pytest.raises(ValueError, match=rf"a\.keras: .*{message}"):
        load_model(with_layer(good, tmp_path / "a.keras", **changes))
    assert not (tmp_path / "ran").exists()


def test_bombs_are_refused_before_they_need_memory(good, tmp_path):
    path = write(tmp_path / "a.keras", members(good) | {"model.weights.h5": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"a\.keras: .*claims"):
        load_model(path)
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_dataset("vars/0", shape=(10**11,), chunks=(1024,), dtype="f4")
    with pytest.raises(ValueError, match=r"a\.keras: model\.weights\.h5 claims 400000000000 bytes"):
        load_model(write(path, members(good) | {"model.weights.h5": weights.getvalue()}))


@pytest.mark.parametrize("kind", ["external", "soft", "stored elsewhere"])
def test_weights_in_other_files_are_not_read(good, tmp_path, kind):
    weights = io.BytesIO()
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(weights, "w") as file:
        if kind == "external":
            file["x"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "soft":
            file["x"] = h5py.SoftLink("/y")
        else:
            file.create_dataset("x", (16,), "f4", external=[(str(tmp_path / "secret"), 0, 64)])
    with pytest.raises(ValueError, match=r"a\.keras: model\.weights\.h5: 'x' is (a link|not an array)"):
        load_model(write(tmp_path / "a.keras", members(good) | {"model.weights.h5": weights.getvalue()}))
