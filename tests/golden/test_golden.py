"""Files of earlier releases can be read and give the numbers of then; `make.py` describes the files."""

import csv
import dataclasses
import json
import pathlib
import re
import shutil
import sys

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

from tfface import data, export, jobs, training
from tfface.config import train_config, train_flags
from tfface.evaluation.reports import comparison

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VERSIONS = sorted(path.parent.name for path in HERE.glob("*/commands.txt"))
# Processors differ in the last digits, and training magnifies them.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module", params=VERSIONS)
def copy(request, tmp_path_factory):
    """A copy of what one release wrote."""
    return shutil.copytree(HERE / request.param, tmp_path_factory.mktemp("golden") / request.param)


@pytest.fixture
def golden(copy, monkeypatch):
    """The same, as the working directory: paths in the files of a run are relative to it."""
    monkeypatch.chdir(copy)
    # Once on, it stays on, and other tests of this process draw random numbers without a seed.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    return copy


@pytest.fixture
def no_export(monkeypatch):
    """Spares a training its export, which starts a process; one test below has it."""
    monkeypatch.setattr(sys.modules[jobs.train.__module__], "export_model", lambda *_: None)


def script(name, *arguments, cwd):
    done = programs.run(f"scripts/{name}", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr


def curve(path):
    """(steps, losses) of a log."""
    with open(path) as file:
        rows = list(csv.DictReader(file))
    return [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]


def assert_same_curve(path, expected):
    (steps, losses), (expected_steps, expected_losses) = curve(path), curve(expected)
    assert steps == expected_steps
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)


def assert_finished_as_recorded(run, expected):
    assert_same_curve(run / "log.csv", f"expected/{expected}.csv")
    numbers = np.load(f"expected/{expected}.npz")
    np.testing.assert_allclose(heldout(run), numbers["embeddings"], **CLOSE)
    np.testing.assert_allclose(training.read_class_weights(run)[1], numbers["class_weights"], **CLOSE)


def heldout(model):
    return jobs.embed_images(model, "records/heldout").vectors


def test_there_are_artefacts_of_releases():
    assert "0.1" in VERSIONS


@pytest.mark.parametrize("run", ["broadface", pytest.param("average", marks=pytest.mark.slow), "replicas"])
def test_interrupted_run_ends_as_the_uninterrupted_one(run, golden, no_export):
    # One device continues a checkpoint of several replicas.
    resumed = golden / "resumed" / run
    shutil.copytree(f"runs/{run}", resumed)
    settings = train_flags.read_flagfile(resumed / "flags.txt")
    settings = dataclasses.replace(settings, run_dir=str(resumed), resume=True, strategy="none", replicas=0)
    assert curve(resumed / "log.csv")[0] == list(range(1, 10))
    jobs.train(settings)
    if run == "replicas":
        # The first loss is that of the checkpoint; other sums than those of two replicas then move the next ones apart.
        (steps, losses), (_, expected) = curve(resumed / "log.csv"), curve(f"expected/{run}.csv")
        assert steps == list(range(1, 13))
        np.testing.assert_allclose(losses[:7], expected[:7], rtol=1e-4)
    else:
        assert_finished_as_recorded(resumed, run)


def test_a_run_keeps_the_shuffle_that_it_began_with(golden, no_export):
    resumed = shutil.copytree("runs/plain", golden / "resumed" / "other_shuffle")
    settings = train_flags.read_flagfile(resumed / "flags.txt")
    assert settings.shuffle == "Buffer(size=10000)"
    settings = dataclasses.replace(settings, run_dir=str(resumed), resume=True, shuffle="Blocks")
    now = r"--shuffle \(was 'Buffer\(size=10000\)', now 'Blocks\(size=64\)'\)"
    with pytest.raises(ValueError, match=f"cannot be resumed with other settings: {now}"):
        jobs.train(settings)


@pytest.mark.parametrize("run", ["plain", pytest.param("replicas", marks=pytest.mark.slow)])
def test_train_script_resumes_from_the_flags_of_a_run_and_exports(run, golden):
    resumed = golden / "resumed" / f"{run}_as_written"
    shutil.copytree(f"runs/{run}", resumed)
    script("train.py", f"--flagfile=runs/{run}/flags.txt", f"--run_dir={resumed}", "--resume", cwd=golden)
    assert_finished_as_recorded(resumed, run)
    expected = np.load(f"expected/{run}.npz")["embeddings"]
    np.testing.assert_allclose(unit(heldout(resumed / "export/1")), unit(expected), **CLOSE)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_embeddings_of_files_and_of_the_run_are_the_same(golden):
    (images,) = data.eval_dataset("records/heldout", 24, 56).as_numpy_iterator()
    found = heldout("runs/plain")
    for kind in ("npz", "tfrecord"):
        stored = export.load_embeddings(f"embeddings.{kind}")
        assert list(stored.keys) == [key.decode() for key in images["key"]]
        np.testing.assert_array_equal(stored.labels, images["label"])
        np.testing.assert_allclose(stored.vectors, found, **CLOSE)


def test_evaluation_gives_the_stored_numbers(golden, tmp_path):
    jobs.verify_model("runs/plain", "records/heldout", ["pairs.csv"], output=tmp_path)
    found, stored = (json.loads((path / "results.json").read_text()) for path in (tmp_path, golden / "evaluation"))
    for section in ("results", "identification", "angles"):
        assert_agree(found[section], stored[section])
    for hashed in ("model_sha256", "images_sha256", "protocol"):
        assert found["context"][hashed] == stored["context"][hashed]


def assert_agree(found, stored):
    """Every stored number is there again; a later release may tell more."""
    if isinstance(stored, dict):
        for key, value in stored.items():
            assert_agree(found[key], value)
    elif isinstance(stored, list):
        for pair in zip(found, stored, strict=True):
            assert_agree(*pair)
    else:
        assert found == (pytest.approx(stored, rel=1e-4) if isinstance(stored, float) else stored)


def test_compare_reads_stored_results(golden):
    rows = comparison.compare([comparison.read_run("evaluation")])
    (result,) = json.loads(pathlib.Path("evaluation/results.json").read_text())["results"]
    accuracy = f"{100 * result['accuracy']['mean']:.2f} (40 pairs)"
    assert rows[1][:1] == ["evaluation"] and accuracy in rows[1]


def test_class_weights_of_a_run(golden):
    names, weights = training.read_class_weights("runs/plain")
    assert names == list(data.DatasetInfo.load("records/train").label_map)
    reader = tf.train.load_checkpoint("runs/plain/checkpoints/step-6/variables")
    np.testing.assert_array_equal(weights, reader.get_tensor("head/0000/class_weights"))


@pytest.mark.parametrize("source", ["runs/plain", "face_model.keras"])
def test_training_begins_with_what_was_learned(source, golden, no_export, tmp_path):
    settings = train_config.TrainConfig(
        run_dir=str(tmp_path / "run"), train_data="records/train", init_from=source, image_size=56,
        embedding_dim=32, batch_size=16, epochs=1 / 6, learning_rate=0.0, weight_decay=0.0, freeze=[".*"],
        schedule="Constant", backbone="MobileFaceNet(width=0.05)",
    )  # fmt: skip
    jobs.train(settings)
    stored = export.load_embeddings("embeddings.npz").vectors
    if source == "face_model.keras":
        stored = np.load("expected/face_model.npz")["embeddings"]
    np.testing.assert_allclose(heldout(tmp_path / "run"), stored, **CLOSE)
    if source == "runs/plain":
        ours, theirs = (training.read_class_weights(path)[1] for path in (tmp_path / "run", source))
        np.testing.assert_array_equal(ours, theirs)


def test_face_model_of_a_keras_file_trains_on(golden):
    expected = np.load("expected/face_model.npz")
    model = keras.models.load_model("face_model.keras")
    assert int(model.optimizer.iterations) == 2
    losses = []
    for batch in list(data.eval_dataset("records/train", 16, 56).take(4).as_numpy_iterator())[2:]:
        model.reset_metrics()
        losses.append(model.train_on_batch(batch["image"], batch["label"]))
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-4)


def test_encoder_of_a_keras_file_and_its_exports_agree(golden, tmp_path):
    expected = np.load("expected/encoder.npz")["embeddings"]
    np.testing.assert_allclose(heldout("encoder.keras"), expected, **CLOSE)
    jobs.export_model("encoder.keras", tmp_path / "again/1", flip=True)
    again, stored = (heldout(path) for path in (tmp_path / "again/1", "exported/1"))
    np.testing.assert_allclose(again, stored, **CLOSE)
    # Both add the embedding of the mirrored image.
    flipped = jobs.embed_images("encoder.keras", "records/heldout", flip=True).vectors
    np.testing.assert_allclose(unit(stored), unit(flipped), **CLOSE)


@pytest.mark.slow  # It renders 6,000 faces.
def test_30_steps_of_the_quickstart(golden, tmp_path):
    (command,) = (
        line.split() for line in pathlib.Path("commands.txt").read_text().splitlines() if "quickstart" in line
    )
    arguments = [f"--flagfile={ROOT}/scripts/flagfiles/quickstart.flags", *command[3:], f"--run_dir={tmp_path / 'run'}"]
    script("train.py", *arguments, cwd=ROOT)
    assert_same_curve(tmp_path / "run/log.csv", "quickstart_30.csv")


@pytest.mark.parametrize("version", VERSIONS)
def test_no_file_names_the_machine_that_made_it(version):
    absolute = re.compile(rb"(?<![\w.:/])(?:/(?:home|root|tmp|work|mnt|usr|opt|var|Users)/\w|[A-Z]:\\\\?Users)")
    files = [path for path in (HERE / version).rglob("*") if path.is_file()]
    found = {str(path): match[0] for path in files if (match := absolute.search(path.read_bytes()))}
    assert not found
    assert sum(path.stat().st_size for path in files) < 3e6
