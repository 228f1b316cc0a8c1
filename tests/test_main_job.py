"""The scripts as a user runs them: train, interrupt, resume, evaluate, export."""

import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess

import numpy as np
import programs
import pytest
import tensorflow as tf
from programs import curve, start, wait_until

from tfface.config import train_flags
from tfface.jobs.embedding import embed_images
from tfface.jobs.run_folder import owned_run_folder
from tfface.jobs.training import train
from tfface.jobs.verification import verify_model

FLAGS = """
--train_data=synthetic
--synthetic_identities=60
--synthetic_heldout=20
--synthetic_images=8
--image_size=56
--backbone=SFNet(units=[0,0,0,0], with_batch_norm=True)
--embedding_dim=64
--head=ArcFace(scale=16, margin=0.2)
--batch_size=16
--learning_rate=0.1
--exclude_from_decay=norm,prelu
--clip_norm=20
--ema=0.5
--epochs=4
--warmup_epochs=1
--heldout_pairs=1000
--log_every=1
--save_every=30
--verify_every=60
"""


def script(name, *arguments, wait=True):
    return programs.run(name, *arguments) if wait else start(name, *arguments)


@pytest.fixture
def undetermined(monkeypatch):
    """Once on, determinism stays on, and other tests of this process draw random numbers without a seed."""
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("main_job")


@pytest.fixture(scope="module")
def run(folder):
    """One finished run: (its folder, what the script printed)."""
    (folder / "tiny.flags").write_text(FLAGS)
    result = script("scripts/train.py", f"--flagfile={folder / 'tiny.flags'}", f"--run_dir={folder / 'run'}")
    assert result.returncode == 0, result.stderr
    assert_planned_and_measured(result.stderr)
    return folder / "run", result.stdout


def assert_planned_and_measured(errors):
    """Three lines of the plan at the start, and the peak at the end."""
    (first,) = (number for number, line in enumerate(errors.splitlines()) if line.startswith("Plan: "))
    plan, memory, messages = errors.splitlines()[first : first + 3]
    assert plan.startswith("Plan: 480 images of 60 identities, 120 steps of 16 images; ")
    assert memory.startswith("Memory per replica: ") and messages.startswith("Per step: nothing sent, 16 images read (")
    (measured,) = re.findall(r"^Peak memory: (.*) GB of this process, (.*) GB of it before", errors, re.MULTILINE)
    assert float(measured[0]) >= float(measured[1]) > 0


def test_held_out_accuracy_rises(run):
    run_dir, printed = run
    with (run_dir / "verification.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["step"] == "0"
    before, after = float(rows[0]["accuracy"]), float(rows[-1]["accuracy"])
    # Identities are unseen, 1,000 pairs: a deviation of chance is 1.6 points.
    assert before < 0.65
    assert after > before + 0.06
    for part in (
        f"{100 * after:.2f} ±",
        "checkpoints/step-120",
        "report.html",
        "export/1",
        "tfface evaluate --model=",
    ):
        assert part in printed
    (result,) = json.loads((run_dir / "results.json").read_text())["results"]
    assert result["accuracy"]["mean"] == pytest.approx(after, abs=1e-6)
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    for part in ("held-out pairs, untrained", "--flagfile=", f"{100 * before:.2f} ±", f"{100 * after:.2f} ±"):
        assert part in page
    # The hardest pairs of both kinds, with pictures.
    assert page.count("data:image/jpeg") == 32
    assert (run_dir / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_is_asked_to_end_then_killed_then_damaged_is_the_uninterrupted_one(run, folder):
    uninterrupted, _ = run
    run_dir = folder / "interrupted"
    # The flagfile that the first run wrote reruns it; its records are the same data.
    arguments = [f"--flagfile={uninterrupted / 'flags.txt'}", f"--run_dir={run_dir}", "--log_every=10"]
    process = script("scripts/train.py", *arguments, "--save_every=120", wait=False)
    wait_until(lambda: curve(run_dir), process)
    assert_saves_and_ends(process, signal.SIGTERM, 143, run_dir)

    process = script("scripts/train.py", *arguments, "--resume", wait=False)
    # Killed some steps after a checkpoint, so that the resume goes back; and further back, to the one before it.
    wait_until(lambda: len(curve(run_dir)) >= 7, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 7 <= len(curve(run_dir)) < 12
    newest, before = sorted((run_dir / "checkpoints").glob("step-*"), key=lambda path: -int(path.name[5:]))[:2]
    truncate(newest)
    resumed = script("scripts/train.py", *arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"The run continues from {before.name}." in resumed.stderr

    assert_same_run(run_dir, uninterrupted)
    ours, theirs = (np.load(embed(path, folder)) for path in (run_dir, uninterrupted))
    np.testing.assert_array_equal(ours["vectors"], theirs["vectors"])


def assert_saves_and_ends(process, signum, status, run_dir):
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    (checkpoint,) = (run_dir / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert 10 <= step < 120
    expected = f"Error: interrupted by {signum.name}; step {step} is saved; the same command with --resume continues."
    assert (process.returncode, errors.splitlines()[-1]) == (status, expected)
    assert "Traceback" not in errors


def assert_same_run(run_dir, uninterrupted):
    """The losses of a run that logged every ten steps, and its last checkpoint, are those of the uninterrupted one."""
    means = np.reshape([float(loss) for _, loss in curve(uninterrupted)], [-1, 10]).mean(axis=1)
    np.testing.assert_allclose([float(loss) for _, loss in curve(run_dir)], means, rtol=1e-6)
    ours, theirs = (checkpoint_arrays(path / "checkpoints/step-120/variables") for path in (run_dir, uninterrupted))
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))


def truncate(checkpoint):
    data = checkpoint / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1000])


@pytest.mark.slow
@pytest.mark.parametrize(
    "signum, status, strategy",
    [(signal.SIGINT, 130, []), (signal.SIGTERM, 143, ["--strategy=mirrored", "--replicas=2"])],
)
def test_a_run_that_is_asked_to_end_saves_and_resumes(signum, status, strategy, run, tmp_path):
    uninterrupted, _ = run
    run_dir = tmp_path / "run"
    # Neither saved nor logged at every step, so that the checkpoint lies between two lines of the log.
    arguments = [
        *(f"--flagfile={uninterrupted / 'flags.txt'}", f"--run_dir={run_dir}"),
        *("--log_every=10", "--save_every=120", *strategy),
    ]
    process = script("scripts/train.py", *arguments, wait=False)
    wait_until(lambda: curve(run_dir), process)
    assert_saves_and_ends(process, signum, status, run_dir)
    assert script("scripts/train.py", *arguments, "--resume").returncode == 0
    assert len(curve(run_dir)) == 12
    if not strategy:
        assert_same_run(run_dir, uninterrupted)


def test_a_run_folder_has_one_training(run, folder, tmp_path):
    uninterrupted, _ = run
    arguments = [f"--flagfile={uninterrupted / 'flags.txt'}", f"--run_dir={tmp_path / 'run'}"]
    first = script("scripts/train.py", *arguments, wait=False)
    wait_until((tmp_path / "run/.owner").exists, first)
    in_use = f"in use by process {first.pid} on .* since .*: wait for it, or end it first"
    second = script("scripts/train.py", *arguments, "--resume", "--steal_lock")
    assert second.returncode == 1
    assert re.search(in_use, second.stderr)
    assert "Traceback" not in second.stderr
    settings = train_flags.read_flagfile(uninterrupted / "flags.txt")
    for more in ({}, {"resume": True}, {"overwrite": True}):
        settings = dataclasses.replace(settings, run_dir=str(tmp_path / "run"), **more)
        with pytest.raises(ValueError, match=in_use), owned_run_folder(settings):
            pass
    first.kill()
    first.communicate()


def test_a_step_that_breaks_the_weights_is_not_saved(run, tmp_path):
    uninterrupted, _ = run
    arguments = [
        f"--flagfile={uninterrupted / 'flags.txt'}",
        f"--run_dir={tmp_path / 'run'}",
        "--keep=1",
        "--save_every=1",
    ]
    arguments += [
        f"--train_data={uninterrupted}/records/train",
        "--noresume",
        "--warmup_epochs=0",
        "--learning_rate=1e30",
    ]
    broken = script("scripts/train.py", *arguments)
    assert broken.returncode == 1
    assert "Traceback" not in broken.stderr
    assert "finite" in broken.stderr.splitlines()[-1]
    for checkpoint in (tmp_path / "run/checkpoints").glob("step-*"):
        assert all(np.isfinite(array).all() for array in checkpoint_arrays(checkpoint / "variables"))


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(run, tmp_path):
    uninterrupted, _ = run
    shutil.copytree(uninterrupted, tmp_path / "run")
    truncate(tmp_path / "run/checkpoints/step-120")
    arguments = [f"--flagfile={uninterrupted / 'flags.txt'}", f"--run_dir={tmp_path / 'run'}", "--resume"]
    strict = script("scripts/train.py", *arguments, "--strict_resume")
    assert strict.returncode == 1
    assert "step-120 is damaged: variables.data-00000-of-00001 has" in strict.stderr.splitlines()[-1]
    embedded = script("scripts/embed.py", f"--model={tmp_path / 'run'}", f"--data={uninterrupted}/records/heldout",
                      f"--output={tmp_path / 'e.npz'}")  # fmt: skip
    assert embedded.returncode == 0
    assert "step-90 is used instead" in embedded.stderr
    resumed = script("scripts/train.py", *arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert "The run continues from step-90." in resumed.stderr
    assert curve(tmp_path / "run") == curve(uninterrupted)


def embed(run_dir, folder):
    """Embeds the first run's held-out images with the export of a run; returns the file."""
    from tfface import data, export

    path = folder / f"{run_dir.name}.npz"
    embedder = export.load_embedder(run_dir / "export/1")
    images = data.eval_dataset(folder / "run/records/heldout", 64, 56)
    export.save_embeddings(path, export.embed_dataset(embedder, images))
    return path


def test_evaluate_gives_the_same_numbers_for_export_run_and_embeddings(run, folder):
    run_dir, _ = run
    results, heldout = {}, run_dir / "records/heldout"
    output = folder / "evaluation_export"
    arguments = [f"--model={run_dir / 'export/1'}", f"--data={heldout}", "--pairs=1000", f"--output={output}"]
    result = script("scripts/evaluate.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert "accuracy %" in result.stdout
    assert (output / "report.png").read_bytes().startswith(b"\x89PNG")
    for name, model in {"run": run_dir, "embeddings": embed(run_dir, folder)}.items():
        verify_model(model, heldout, max_pairs=1000, output=folder / f"evaluation_{name}")
    for name in ("export", "run", "embeddings"):
        results[name] = json.loads((folder / f"evaluation_{name}/results.json").read_text())["results"][0]
    assert results["export"]["accuracy"] == results["embeddings"]["accuracy"]
    assert results["run"]["accuracy"]["mean"] == pytest.approx(results["export"]["accuracy"]["mean"], abs=0.002)


def test_evaluating_training_records_compares_embeddings_with_class_weights(run, folder):
    from tfface import training

    run_dir, _ = run
    output, records = folder / "evaluation_train", run_dir / "records/train"
    verify_model(run_dir, records, max_pairs=200, output=output)
    angles = json.loads((output / "results.json").read_text())["angles"]

    names, weights = training.read_class_weights(run_dir)
    assert names == json.loads((records / "dataset.json").read_text())["label_map"]
    embeddings = embed_images(run_dir, records)
    weights = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    centres = np.stack([embeddings.vectors[embeddings.labels == label].sum(axis=0) for label in range(len(names))])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    to_centres = np.degrees(np.arccos(np.sum(weights * centres, axis=1)))
    assert angles["w_ec"] == pytest.approx(to_centres.mean(), abs=0.01)
    # After training, class weights lie where their own images are: of other classes they would be far.
    assert angles["w_ec"] < np.degrees(np.arccos(np.sum(weights * centres[::-1], axis=1))).mean() - 20
    assert "W-EC" in (output / "report.html").read_text(encoding="utf-8")
    assert "W-EC" not in (run_dir / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow  # tests/jobs/test_exports.py has the same of the library.
def test_export_script_writes_what_the_run_exported(run, folder):
    run_dir, _ = run
    result = script(
        "scripts/export.py",
        f"--model={run_dir}",
        f"--output={folder / 'exported/1'}",
        f"--serving_config={folder / 'serving'}",
    )
    assert result.returncode == 0, result.stderr
    assert "embeddings of 8 faces differ by up to" in result.stdout
    assert f"--model_config_file={folder / 'serving'}/models.config" in result.stdout
    from tfface import export

    for card in ("model_card.json", "model_card.md"):
        ours, theirs = (path / "assets.extra" / card for path in (folder / "exported/1", run_dir / "export/1"))
        assert ours.read_bytes() == theirs.read_bytes()

    images = np.random.default_rng(0).uniform(-1, 1, (3, 56, 56, 3)).astype(np.float32)
    ours, theirs = (export.load_embedder(path)(images) for path in (folder / "exported/1", run_dir / "export/1"))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "already holds a run: --resume continues it"),
        (["--run_dir=NEW", "--no_such_flag"], "no_such_flag"),
        (
            ["--run_dir=NEW", "--learning_rate=1e9", "--warmup_epochs=0", "--train_data=RECORDS"],
            "a smaller learning rate or a longer warm-up may help",
        ),
    ],
)
def test_bad_flags_end_in_one_sentence(run, folder, arguments, message):
    run_dir, _ = run
    places = {"=NEW": f"={folder / 'new'}", "=RECORDS": f"={run_dir / 'records/train'}"}
    for short, place in places.items():
        arguments = [argument.replace(short, place) for argument in arguments]
    result = script("scripts/train.py", f"--flagfile={run_dir / 'flags.txt'}", *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "new/export").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"run_dir": "RUN", "resume": True, "batch_size": 8}, "other settings: --batch_size (was 16, now 8)"),
        ({"train_data": "nowhere/*.tfrecord"}, "nowhere/*.tfrecord"),
        ({"batch_size": 4000}, "480 images do not fill one batch of batch_size 4000"),
        ({"head": "NormSoftmax(margin=0.2)"}, "head NormSoftmax has no argument 'margin'"),
        ({"head": "ArcFase"}, "ArcFase"),
    ],
)
def test_bad_settings_are_refused(run, tmp_path, undetermined, changes, message):
    run_dir, _ = run
    settings = train_flags.read_flagfile(run_dir / "flags.txt")
    places = {"run_dir": str(tmp_path / "new"), "train_data": f"{run_dir}/records/train", "heldout_data": ""}
    if "resume" in changes:
        places, changes = {}, {**changes, "run_dir": str(run_dir)}
    with pytest.raises(ValueError, match=re.escape(message)):
        train(dataclasses.replace(settings, **{**places, **changes}))
    assert not (tmp_path / "new/export").exists()


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("scripts/evaluate.py", ["--model=nowhere", "--data=nowhere"], "nowhere"),
        ("scripts/evaluate.py", [], "model"),
        ("scripts/export.py", ["--model=nowhere", "--output=x"], "nowhere does not exist"),
        ("scripts/evaluate.py", ["--model=a", "b"], "unexpected argument 'b'"),
    ],
)
def test_bad_models_end_in_one_sentence(name, arguments, message):
    result = script(name, *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_labels_outside_the_head_are_named(run):
    import keras

    import tfface
    from tfface import data

    run_dir, _ = run
    model = tfface.FaceModel(tfface.backbones.MobileFaceNet(16, 56, width=0.25), tfface.heads.ArcFace(10))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    batches = data.train_dataset(run_dir / "records/train", 32, 56)
    with pytest.raises(Exception, match=r"labels must be in \[0, 10\)"):
        model.fit(batches, steps_per_epoch=1, verbose=0)


def test_records_with_more_labels_than_their_description_are_named(run, folder, undetermined):
    run_dir, _ = run
    shutil.copytree(run_dir / "records/train", folder / "damaged")
    description = json.loads((folder / "damaged/dataset.json").read_text())
    description.update(identities=10, label_map=description["label_map"][:10])
    (folder / "damaged/dataset.json").write_text(json.dumps(description))
    settings = dataclasses.replace(
        train_flags.read_flagfile(run_dir / "flags.txt"),
        run_dir=str(folder / "outside"),
        train_data=str(folder / "damaged"),
        heldout_data="",
    )
    with pytest.raises(Exception, match=r"labels must be in \[0, 10\), the classes of ArcFace"):
        train(settings)


@pytest.mark.slow  # tests/data/test_damaged_records.py has the same of readers.
def test_damaged_records_stop_a_training_or_are_left_out_and_listed(run, tmp_path, undetermined):
    run_dir, _ = run
    for name in ("train", "heldout"):
        shutil.copytree(run_dir / "records" / name, tmp_path / name)
        (shard,) = (tmp_path / name).glob("*.tfrecord")
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    settings = dataclasses.replace(
        train_flags.read_flagfile(run_dir / "flags.txt"),
        run_dir=str(tmp_path / "run"),
        epochs=0.2,
        warmup_epochs=0,
        train_data=str(tmp_path / "train"),
        heldout_data=str(tmp_path / "heldout"),
    )
    with pytest.raises(ValueError, match=r"heldout/.*: record \d+ at byte \d+: .*skip_bad leaves such records out"):
        train(settings)
    # A run that meets a bad record on its way can be resumed without it.
    with pytest.raises(ValueError, match=r"train/.*: record \d+ at byte \d+: .*skip_bad leaves such records out"):
        train(dataclasses.replace(settings, heldout_data=f"{run_dir}/records/heldout"))
    assert (tmp_path / "run/flags.txt").is_file()
    train(dataclasses.replace(settings, resume=True, skip_bad=True))
    skipped = (tmp_path / "run/skipped.txt").read_text().splitlines()
    assert [line.split(":")[0].split("/")[-2] for line in skipped] == ["train", "heldout"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
@pytest.mark.parametrize("megabytes", [1, 2, 3])
def test_full_disk_ends_in_one_sentence(run, tmp_path, megabytes):
    run_dir, _ = run
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk], check=True)
    try:
        result = script(
            "scripts/train.py",
            f"--flagfile={run_dir / 'flags.txt'}",
            f"--run_dir={disk / 'run'}",
            f"--train_data={run_dir / 'records/train'}",
            f"--heldout_data={run_dir / 'records/heldout'}",
        )
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert "space" in result.stderr.splitlines()[-1].lower()
        assert not (disk / "run/export/1").exists()
        # What claims to be a checkpoint is one.
        for index in disk.glob("run/checkpoints/*.index"):
            assert all(np.isfinite(array).all() for array in checkpoint_arrays(index.with_suffix("")))
    finally:
        subprocess.run(["umount", disk], check=True)


def checkpoint_arrays(path):
    reader = tf.train.load_checkpoint(str(path))
    names = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype.is_floating]
    return [reader.get_tensor(name) for name in names]
