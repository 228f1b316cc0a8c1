"""Embedding of images from files, interruptions by a kill, and the reports made of embeddings."""

import csv
import io
import json
import pathlib
import shutil
import signal
import time

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf
from PIL import Image

from tfface import data, evaluation, export
from tfface.config import train_config
from tfface.evaluation.reports import comparison
from tfface.jobs import embed_images, open_images, provenance, thumbnails, verify_model
from tfface.jobs.training import train
from tfface.training.checkpoints import checksums

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """SavedModel of a small untrained network for images of 56 pixels."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((56, 56, 3)), keras.layers.Conv2D(4, 5, strides=4), keras.layers.Flatten()]
    path = tmp_path_factory.mktemp("model") / "1"
    export.saved_model(keras.Sequential([*layers, keras.layers.Dense(8)]), path)
    return path


def pixels(person, image):
    rng = np.random.default_rng([person, image])
    field = np.random.default_rng(person).integers(0, 256, (4, 4, 3)) * 0.7 + rng.integers(0, 76, (4, 4, 3))
    return Image.fromarray(np.uint8(field)).resize((56, 56), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folder of 24 people with 5 photos each; names hold characters that break HTML and shells."""
    root = tmp_path_factory.mktemp("photos")
    for person in range(24):
        (root / f"p{person:02d} <b>&'\"").mkdir()
        for number in range(5):
            pixels(person, number).save(root / f"p{person:02d} <b>&'\"" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def records(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "photos"
    data.convert_folder(str(photos), str(path), workers=1)
    return path


def test_folder_and_records_give_the_same_embeddings(model, photos, records, tmp_path):
    folder = embed_images(model, photos, tmp_path / "folder.npz", flip=True, batch_size=7)
    again = embed_images(model, records, flip=True)
    assert folder.vectors.shape == (120, 8)
    by_key = dict(zip(again.keys, zip(again.vectors, again.labels, strict=True), strict=True))
    assert by_key.keys() == set(folder.keys)
    for key, vector, label in zip(folder.keys, folder.vectors, folder.labels, strict=True):
        np.testing.assert_allclose(vector, by_key[key][0], atol=1e-5)
        assert label == by_key[key][1]
    saved = export.load_embeddings(tmp_path / "folder.npz")
    np.testing.assert_array_equal(saved.vectors, folder.vectors)
    assert saved.labels.tolist() == folder.labels.tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.npz"]


def test_killed_and_repeated_run_writes_the_same_bytes(model, tmp_path):
    name = "vectors.npz"
    images = tmp_path / "images"
    for person in range(12):
        (images / str(person)).mkdir(parents=True)
        buffer = io.BytesIO()
        pixels(person, 0).save(buffer, "PNG")
        for number in range(40):
            (images / str(person) / f"{number:02d}.png").write_bytes(buffer.getvalue())
    output = tmp_path / name
    flags = [f"--model={model}", f"--data={images}", f"--output={output}", "--batch_size=1", "--flip"]
    process = programs.start("scripts/embed.py", *flags)
    deadline = time.monotonic() + 200
    while not (tmp_path / f"{name}.partial/piece-000000.npz").is_file():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    pieces = list((tmp_path / f"{name}.partial").glob("piece-*.npz"))
    assert 1 <= len(pieces) < 8
    written = {path: path.stat().st_mtime_ns for path in pieces}

    with pytest.raises(ValueError, match="holds another job"):
        embed_images(model, images, output, flip=False, batch_size=1)
    assert {path: path.stat().st_mtime_ns for path in pieces} == written
    embed_images(model, images, output, flip=True, batch_size=1)
    embed_images(model, images, tmp_path / f"whole-{name}", flip=True, batch_size=1)
    assert output.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_fingerprints_change_with_content_and_names(model, photos, records, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    # As sha256sum prints it.
    assert provenance.sha256(tmp_path / "a").startswith("2d711642b726b044")
    assert provenance.sha256(tmp_path / "a") == provenance.sha256(tmp_path / "b")
    both = provenance.sha256(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = provenance.sha256(tmp_path)
    (tmp_path / "c").write_bytes(b"y")
    assert len({both, renamed, provenance.sha256(tmp_path)}) == 3
    assert provenance.images_sha256(records) == provenance.sha256(records / "dataset.json")
    assert provenance.images_sha256(f"{records}/*.tfrecord") == provenance.sha256(*records.glob("*.tfrecord"))
    assert provenance.images_sha256(photos) == provenance.sha256(photos)
    assert provenance.model_sha256(model) == provenance.sha256(model)


def test_fingerprint_of_a_run_is_of_its_newest_checkpoint(tmp_path):
    found = []
    for name in ("flags.txt", "checkpoints/step-9/variables", "log.csv", "checkpoints/step-10/variables"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        if path.name == "variables":
            checksums.write_checksums(path.parent)
        found.append(provenance.model_sha256(tmp_path))
    assert found[1] == found[2] != found[3]
    (tmp_path / "checkpoints/step-9/variables").write_text("changed")
    assert provenance.model_sha256(tmp_path) == found[3]
    # The same checkpoint is read and hashed; a damaged one is neither.
    (tmp_path / "checkpoints/step-10/variables").write_text("changed")
    (tmp_path / "checkpoints/step-9/variables").write_text("checkpoints/step-9/variables")
    assert provenance.model_sha256(tmp_path) == found[2]


@pytest.mark.parametrize("source", ["photos", "records"])
def test_thumbnails_are_the_images_asked_for(source, photos, request):
    keys = data.find_images(photos).keys[3:40:9]
    found = thumbnails.read_thumbnails(request.getfixturevalue(source), [*keys, "nobody/1.png"], side=28)
    assert sorted(found) == keys
    for key, picture in found.items():
        with Image.open(io.BytesIO(picture)) as thumbnail, Image.open(photos / key) as original:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (28, 28))
            expected = np.asarray(original.convert("RGB").resize((28, 28), Image.Resampling.BILINEAR), float)
            assert np.abs(np.asarray(thumbnail, float) - expected).mean() < 6
    assert thumbnails.read_thumbnails(request.getfixturevalue(source), []) == {}


def test_evaluation_writes_all_files(model, photos, tmp_path):
    with (tmp_path / "groups.csv").open("w", newline="") as file:
        rows = [(key, "even" if int(key[1:3]) % 2 == 0 else "odd") for key in data.find_images(photos).keys]
        csv.writer(file).writerows([("key", "parity"), *rows])
    output = tmp_path / "out"
    results = verify_model(
        model, photos, max_pairs=200, output=output, groups=tmp_path / "groups.csv", hardest=2, command="do <this>"
    )
    assert sorted(path.name for path in output.iterdir()) == [
        "report.html",
        "report.png",
        "results.csv",
        "results.json",
    ]
    document = json.loads((output / "results.json").read_text())
    assert document["results"][0]["accuracy"]["mean"] == results[0].accuracy.mean > 0.6
    assert document["context"]["model_sha256"] == provenance.sha256(model)
    assert document["context"]["images_sha256"] == provenance.sha256(photos)
    assert document["identification"]["gallery"] == 24 and document["identification"]["probes"] == 96
    assert 0 < document["angles"]["intra"] < 90
    (table,) = document["groups"]["held-out pairs"]
    assert {group["name"] for group in table["groups"]} <= {"even", "even | odd", "odd"}
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 8 and page.count("data:image/svg+xml") == 4
    assert "do &lt;this&gt;" in page and "Groups: held-out pairs" in page
    assert provenance.sha256(model) in page


def test_embeddings_alone_can_be_evaluated(model, photos, tmp_path):
    embed_images(model, photos, tmp_path / "vectors.tfrecord")
    for images, faces in ((None, 0), (photos, 4)):
        verify_model(tmp_path / "vectors.tfrecord", images, max_pairs=200, output=tmp_path, hardest=1)
        assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == faces


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": None}, "images to embed are missing"),
        ({"model": "nowhere"}, "nowhere does not exist"),
        ({"model": "missing.tflite"}, "missing.tflite does not exist"),
        ({"model": "empty"}, "empty: neither a run folder .* The folder is empty"),
        ({"model": "other.keras"}, r"other.keras holds another network: .* with input shape \(None, 10\)"),
        ({"images": "nowhere"}, "no file matches 'nowhere'"),
        ({"groups": "CSV"}, "has no row for .* images of the pairs"),
        ({"protocol": ["LFW"]}, "none of the 2 pairs has both images among the 120 keys"),
        ({"protocol": ["LFW", "LFW"]}, "a protocol is given twice: .*pairs.txt"),
        ({"model": "ZERO"}, "must be finite and not zero"),
        ({"model": "NAN"}, r"embeddings of 60 of 120 images are not finite, the first of \['p00"),
    ],
)
def test_bad_input_is_named(model, photos, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    keras.Sequential([keras.Input((10,)), keras.layers.Dense(3)]).save("other.keras")
    keys = data.find_images(photos).keys
    (tmp_path / "groups.csv").write_text("key,c\nsomebody,1\n")
    (tmp_path / "pairs.txt").write_text("1 1\nA\t1\t2\nA\t1\tB\t1\n")
    labels = np.arange(120) // 5
    for name, value in (("ZERO", 0), ("NAN", np.nan)):
        vectors = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
        vectors[::2] = value
        # Written by NumPy, because the library refuses to make embeddings that are not finite.
        np.savez(tmp_path / f"{name}.npz", vectors=vectors, keys=np.array(keys), labels=labels)
    places = {"CSV": tmp_path / "groups.csv", "LFW": tmp_path / "pairs.txt"}
    places |= {name: tmp_path / f"{name}.npz" for name in ("ZERO", "NAN")}
    arguments = {"model": model, "images": photos, "max_pairs": 200, "output": tmp_path / "out", **change}
    for name, value in change.items():
        if isinstance(value, list):
            arguments[name] = [places[one] for one in value]
        elif value in places:
            arguments[name] = places[value]
    with pytest.raises(ValueError, match=message):
        verify_model(**arguments)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """Embeddings of 24 people with 5 images each, and a complete list of their pairs."""
    folder = tmp_path_factory.mktemp("embeddings")
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(24, 8)), 5, axis=0) + rng.normal(size=(120, 8))
    vectors = np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    keys = [f"p{number // 5}/{number % 5}.jpg" for number in range(120)]
    export.save_embeddings(folder / "all.npz", export.Embeddings(vectors, keys))
    part = [number for number in range(120) if number % 10]
    export.save_embeddings(folder / "part.npz", export.Embeddings(vectors[part], [keys[number] for number in part]))
    data.write_pairs(folder / "lfw.csv", data.sample_pairs(keys, np.arange(120) // 5, 120, seed=0, folds=2))
    return folder


def test_an_incomplete_protocol_is_an_error_unless_allowed_and_then_stated_everywhere(embeddings, tmp_path):
    arguments = {"protocol": [embeddings / "lfw.csv"], "hardest": 0, "output": tmp_path / "out"}
    with pytest.raises(ValueError, match=r"lfw.csv: \d+ of 120 pairs missing, such as those of 'p.*--allow_missing"):
        verify_model(embeddings / "part.npz", **arguments)
    assert not (tmp_path / "out").exists()
    (result,) = verify_model(embeddings / "part.npz", **arguments, allow_missing=True)
    missing = 120 - len(result.genuine_scores) - len(result.impostor_scores)
    assert missing > 5 and result.completeness.missing == missing and result.completeness.pairs == 120
    document = json.loads((tmp_path / "out/results.json").read_text())
    (written,) = document["results"]
    assert written["completeness"]["missing"] == missing
    assert set(written["completeness"]["examples"]) <= {f"p{number // 5}/0.jpg" for number in range(0, 120, 10)}
    sentence = f"{missing} of 120 pairs missing, such as those of "
    assert sentence in document["context"]["pairs"]["lfw"]
    assert sentence in (tmp_path / "out/report.html").read_text() and sentence in evaluation.to_table([result])
    with (tmp_path / "out/results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["protocol_pairs"], row["missing_pairs"]) == ("120", str(missing))
    assert comparison.read_run(tmp_path / "out").values["LFW accuracy"].endswith(f" ({120 - missing} of 120 pairs)")
    (incomplete,) = comparison.read_run(tmp_path / "out").incomplete
    assert incomplete == f"LFW: {missing} of 120 pairs"
    run = [f"--runs={tmp_path / 'out'}", f"--output={tmp_path / 'table.csv'}"]
    refused = finished("compare", *run)
    assert refused.returncode == 1 and f"LFW: {missing} of 120 pairs. Papers' numbers" in refused.stderr
    assert finished("compare", *run, "--allow_missing").returncode == 0


def finished(*words):
    """A finished call of the command `tfface`."""
    return programs.run("tfface", *words)


def test_a_complete_protocol_is_said_to_be_complete(embeddings, tmp_path):
    (result,) = verify_model(
        embeddings / "all.npz", protocol=[embeddings / "lfw.csv"], hardest=0, output=tmp_path / "out"
    )
    document = json.loads((tmp_path / "out/results.json").read_text())
    assert document["context"]["pairs"] == {"lfw": "official, all 120 pairs"}
    assert document["results"][0]["completeness"] == {"pairs": 120, "missing": 0, "examples": []}
    assert "missing" not in evaluation.to_table([result])
    assert comparison.read_run(tmp_path / "out").values["LFW accuracy"].endswith(" (120 pairs)")
    assert comparison.read_run(tmp_path / "out").incomplete == ()


def test_an_incomplete_protocol_stops_a_training_before_its_first_step(records, tmp_path, monkeypatch):
    # Once on, it stays on, and Keras leaves XLA out in the other tests of this process.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    items = list(data.RecordsSource(str(records)).items())
    # A tenth of the images of the list are not in the records.
    keys = [item.key if number % 10 else f"gone/{number}.png" for number, item in enumerate(items)]
    people = np.unique([item.identity for item in items], return_inverse=True)[1]
    data.write_pairs(tmp_path / "lfw.csv", data.sample_pairs(keys, people, 120, seed=0, folds=2))
    settings = train_config.TrainConfig(
        run_dir=str(tmp_path / "run"),
        train_data=str(records),
        heldout_data=str(records),
        protocol=[str(tmp_path / "lfw.csv")],
        backbone="SFNet(units=[0, 0, 0, 0], with_batch_norm=True)",
        embedding_dim=16,
        image_size=56,
        batch_size=32,
    )
    with pytest.raises(ValueError, match=r"lfw.csv: \d+ of 120 pairs missing, .* of 'gone/.*--allow_missing"):
        train(settings)
    assert not (tmp_path / "run/flags.txt").exists() and not (tmp_path / "run/log.csv").exists()


@pytest.fixture
def album(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "album")
    return tmp_path / "album"


def _as(kind):
    buffer = io.BytesIO()
    pixels(0, 0).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "an empty file"),
        # The reasons by themselves are those of the decoder, tested there.
        pytest.param(_as("GIF"), "not a JPEG or PNG image but GIF", marks=pytest.mark.slow),
        pytest.param(_as("WEBP"), "not a JPEG or PNG image but WebP", marks=pytest.mark.slow),
        (_as("PNG")[:300], "a damaged image"),
    ],
)
def test_a_bad_file_is_named_or_left_out_and_listed(model, album, tmp_path, content, reason):
    person = sorted(path.name for path in album.iterdir())[3]
    (album / person / "bad.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.jpg: .*{reason}.*skip_bad leaves such files out"):
        embed_images(model, album)
    opened = open_images(album, skip_bad=True)
    assert len(embed_images(model, album, opened=opened).keys) == 120
    verify_model(model, album, max_pairs=200, output=tmp_path / "out", skip_bad=True, hardest=1)
    left_out = json.loads((tmp_path / "out/results.json").read_text())["context"]["left out"]
    assert left_out["count"] == 1 and f"{person}/bad.jpg: " in left_out["images"][0] and reason in left_out["images"][0]


def test_the_advice_to_skip_bad_files_can_be_followed_at_once(model, album, tmp_path):
    person = sorted(path.name for path in album.iterdir())[3]
    (album / person / "bad.jpg").touch()
    with pytest.raises(ValueError, match="skip_bad leaves such files out"):
        embed_images(model, album, tmp_path / "vectors.npz")
    found = embed_images(model, album, tmp_path / "vectors.npz", opened=open_images(album, skip_bad=True))
    assert len(found.keys) == 120 and not list(tmp_path.glob("*.partial"))


def test_pictures_of_other_formats_stop_embedding(model, album):
    person = sorted(path.name for path in album.iterdir())[0]
    (album / person / "1.bmp").write_bytes(b"BM")
    with pytest.raises(ValueError, match=r"in all 1: 1 of a \.bmp picture, such as p00"):
        embed_images(model, album)
    assert len(open_images(album, skip_bad=True).keys) == 120
