"""Training on several replicas and in several processes, as users run it: the curve is that of one device."""

import dataclasses
import json
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from programs import curve, finish, free_ports, start, start_workers, wait_until

from tfface.config import train_flags
from tfface.jobs.training import train as train_in_this_process

STEPS, SAVED = 12, 6

# Steps as small as this, beside rows of class weights as long as those of 512 numbers, do not magnify rounding errors.
FLAGS = """
--image_size=56
--backbone=SFNet(units=[0,0,0,0], with_batch_norm=True)
--embedding_dim=512
--head=ArcFace(scale=16, margin=0.2)
--partition=replicas
--batch_size=24
--learning_rate=0.00003
--clip_norm=1
--ema=0.5
--schedule=Constant
--epochs=0.6
--log_every=1
--save_every=6
"""


def train(*arguments):
    return start("scripts/train.py", *arguments)


def losses(run_dir):
    return [float(loss) for _, loss in curve(run_dir)]


def saved_arrays(run_dir):
    reader = tf.train.load_checkpoint(str(run_dir / f"checkpoints/step-{STEPS}/variables"))
    names = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype.is_floating]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_training(run_dir, expected_dir):
    np.testing.assert_allclose(losses(run_dir), losses(expected_dir), rtol=1e-4)
    ours, theirs = saved_arrays(run_dir), saved_arrays(expected_dir)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        # float32 sums in another order. Some arrays, such as means of normalised features, are zero but for that; some
        # gradients nearly cancel, and leave errors of up to 2.5 % of the largest in their momentum.
        share = 5e-2 if name.startswith("optimizer/") else 1e-3
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=share * np.abs(array).max() + 3e-6, err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of 61 people, which neither 2 nor 3 replicas divide evenly, and the flags."""
    from tfface import data
    from tfface.data.synthetic import rendering

    folder = tmp_path_factory.mktemp("parallel")
    rendering.write_folder(str(folder / "faces"), 61, 8, 56, 0, os.cpu_count(), lambda _: None)
    data.convert_folder(str(folder / "faces"), folder / "records", name="faces")
    (folder / "flags").write_text(FLAGS + f"--train_data={folder / 'records'}\n")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(folder):
    finish(train(f"--flagfile={folder / 'flags'}", f"--run_dir={folder / 'one'}"))
    return folder / "one"


@pytest.fixture(scope="module")
def interrupted(folder):
    """A run of two workers, of which one was killed after the checkpoint; how the other one ended."""
    run_dir = folder / "two"
    workers = start_workers(2, f"--flagfile={folder / 'flags'}", f"--run_dir={run_dir}")
    wait_until(lambda: len(curve(run_dir)) > SAVED, *workers)
    workers[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, errors = workers[0].communicate(timeout=200)
    workers[1].communicate()
    return run_dir, workers[0].returncode, errors, time.monotonic() - killed


def test_a_worker_that_dies_ends_the_others(interrupted):
    run_dir, code, errors, seconds = interrupted
    assert SAVED < len(curve(run_dir)) < STEPS
    assert code == 1
    assert seconds < 120
    assert "another worker has ended" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == [f"step-{SAVED}"]


# Without a process, tests/training/checkpoints/ has any number of replicas; below, one resumes what two workers began.
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["multiworker", "none", "mirrored"])
def test_what_two_workers_began_goes_on_anywhere(strategy, interrupted, uninterrupted, folder):
    run_dir = folder / f"resumed_{strategy}"
    shutil.copytree(interrupted[0], run_dir)
    arguments = [f"--flagfile={folder / 'flags'}", f"--run_dir={run_dir}", "--resume"]
    if strategy == "multiworker":
        for process in start_workers(2, *arguments):
            finish(process)
    else:
        finish(train(*arguments, f"--strategy={strategy}", *(["--replicas=3"] if strategy == "mirrored" else [])))
    assert_same_training(run_dir, uninterrupted)
    assert (run_dir / "export/1/saved_model.pb").is_file()


@pytest.mark.slow  # CI runs the first case beside the notebooks.
@pytest.mark.parametrize(
    "signum, status, told, resumed_by",
    [(signal.SIGTERM, 143, [0, 1], 1), (signal.SIGINT, 130, [1], 2), (signal.SIGTERM, 143, [0], 3)],
    ids=["both", "second", "first"],
)
def test_workers_save_the_same_step_when_asked_to_end(
    signum, status, told, resumed_by, folder, uninterrupted, tmp_path
):
    arguments = [f"--flagfile={folder / 'flags'}", f"--run_dir={tmp_path / 'run'}", "--save_every=12", "--log_every=3"]
    workers = start_workers(2, *arguments)
    wait_until(lambda: len(curve(tmp_path / "run")) >= 1, *workers)
    for worker in told:
        workers[worker].send_signal(signum)
    ends = [(worker.communicate(timeout=60)[1].splitlines(), worker.returncode) for worker in workers]
    (checkpoint,) = (tmp_path / "run/checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert 3 <= step < STEPS
    sentence = f"Error: interrupted by {signum.name}; step {step} is saved; the same command with --resume continues."
    for errors, code in ends:
        assert (errors[-1], code) == (sentence, status), errors
        assert not any("Traceback" in line for line in errors)
    if resumed_by == 1:
        finish(train(*arguments, "--resume"))
    else:
        for worker in start_workers(resumed_by, *arguments, "--resume"):
            finish(worker)
    # Lines of three steps, of which the signal cut one in two.
    means = np.reshape(losses(uninterrupted), [-1, 3]).mean(axis=1)
    np.testing.assert_allclose(losses(tmp_path / "run"), means, rtol=1e-4)


@pytest.mark.parametrize("kind", [tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.InternalError])
def test_the_end_of_a_collective_operation_is_a_lost_worker_whatever_its_class(kind):
    from tfface.jobs import training

    message = "Collective ops is aborted by: Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat"
    sentence = pytest.raises(ValueError, match="another worker has ended or cannot be reached")
    with sentence, training._lost_worker_in_a_sentence():
        raise kind(None, None, message)
    with pytest.raises(tf.errors.DataLossError), training._lost_worker_in_a_sentence():
        raise tf.errors.DataLossError(None, None, "corrupted record")


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_worker_that_stands_still_ends_the_others(stopped, folder, tmp_path):
    workers = start_workers(2, f"--flagfile={folder / 'flags'}", f"--run_dir={tmp_path / 'run'}", "--epochs=20")
    wait_until(lambda: len(curve(tmp_path / "run")) >= 3, *workers)
    workers[stopped].send_signal(signal.SIGSTOP)
    ends = {1 - stopped: workers[1 - stopped].communicate(timeout=60)[1]}
    workers[stopped].send_signal(signal.SIGCONT)
    ends[stopped] = workers[stopped].communicate(timeout=60)[1]
    for worker, errors in ends.items():
        assert workers[worker].returncode == 1
        assert "another worker has ended or cannot be reached" in errors.splitlines()[-1]
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    "other, difference",
    [
        (["--train_data=OTHER"], "the content of --train_data is"),
        # tests/distribute/test_agreement.py has both without a training.
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                (["--seed=1"], "--seed is 0 on worker 0 (localhost:{}) and 1 on worker 1 (localhost:{})"),
                (
                    ["--batch_size=12"],
                    "--batch_size is 24 on worker 0 (localhost:{}) and 12 on worker 1 (localhost:{})",
                ),
                (["--train_data=nowhere"], "worker 1 (localhost:{}): no file matches 'nowhere'"),
            ]
        ),
    ],
)
def test_workers_that_were_told_different_things_end_before_the_first_step(other, difference, folder, tmp_path):
    shutil.copytree(folder / "records", tmp_path / "records")
    description = (tmp_path / "records/dataset.json").read_text()
    (tmp_path / "records/dataset.json").write_text(description.replace('"sha256": "', '"sha256": "0', 1))
    other = [argument.replace("OTHER", str(tmp_path / "records")) for argument in other]
    cluster = free_ports(2)
    ports = [address.rpartition(":")[2] for address in cluster]
    arguments = ["scripts/train.py", f"--flagfile={folder / 'flags'}", f"--run_dir={tmp_path / 'run'}"]
    workers = [
        start(*arguments, "--strategy=multiworker", *changed, cluster=cluster, worker=worker)
        for worker, changed in enumerate(([], other))
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 1
        expected = difference.format(*(ports if difference.count("{}") == 2 else ports[1:]))
        assert expected in errors.splitlines()[-1]
        assert "Traceback" not in errors
    assert not (tmp_path / "run/log.csv").exists()


def test_a_worker_that_never_comes_is_named(folder, tmp_path):
    cluster = free_ports(2)
    arguments = [f"--flagfile={folder / 'flags'}", f"--run_dir={tmp_path / 'run'}", "--strategy=multiworker"]
    worker = start("scripts/train.py", *arguments, "--wait_for_workers=2", cluster=cluster, worker=0)
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert errors.splitlines()[-1] == f"Error: worker 1 ({cluster[1]}) did not come within 2 s (--wait_for_workers)."


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc")
@pytest.mark.parametrize(
    "count, steps",
    [(2, 100), *(pytest.param(count, 300, marks=pytest.mark.slow) for count in (2, 3))],
)
def test_workers_keep_their_threads_and_files(count, steps, folder, tmp_path):
    run_dir, early, batch_size = tmp_path / "run", steps // 6, 12 * count
    # More steps than are waited for: how workers end is tested above.
    epochs = (steps + 50) / (61 * 8 // batch_size)
    flags = [f"--epochs={epochs}", f"--batch_size={batch_size}", "--save_every=1000", "--nodeterministic"]
    # Threads and files of a step do not depend on the size of the network.
    flags += ["--backbone=SFNet(units=[0,0,0,0])", "--embedding_dim=32"]
    with open(tmp_path / "errors", "w+") as errors:
        flags = [f"--flagfile={folder / 'flags'}", f"--run_dir={run_dir}", *flags]
        workers = start_workers(count, *flags, stdout=errors, stderr=errors)
        found = {}
        for step in (early, steps):
            wait_until(lambda step=step: len(curve(run_dir)) >= step, *workers)
            found[step] = [
                len(os.listdir(f"/proc/{worker.pid}/{kind}")) for worker in workers for kind in ("task", "fd")
            ]
        for worker in workers:
            worker.kill()
            worker.wait()
    # A worker opens its log for every line, so that a file or two more may be open at either moment.
    grown = [after - before for before, after in zip(*found.values(), strict=True)]
    assert all(more <= 2 + 0.1 * before for more, before in zip(grown, found[early], strict=True)), found


@pytest.mark.slow  # tests/training/checkpoints/test_checkpoints.py has the same without a process.
def test_more_identities_keep_the_old_rows(uninterrupted, folder):
    from tfface import data
    from tfface.data.synthetic import rendering

    # The same faces for the same seed, and four more.
    rendering.write_folder(str(folder / "more_faces"), 65, 8, 56, 0, os.cpu_count(), lambda _: None)
    data.convert_folder(str(folder / "more_faces"), folder / "more_records", name="faces")
    run_dir = folder / "more"
    finish(
        train(
            f"--flagfile={folder / 'flags'}",
            f"--run_dir={run_dir}",
            f"--train_data={folder / 'more_records'}",
            f"--init_from={uninterrupted}",
            "--strategy=mirrored",
            "--replicas=2",
            "--learning_rate=0",
            "--weight_decay=0",
        )
    )
    old, new = saved_arrays(uninterrupted), saved_arrays(run_dir)
    names = {
        key: json.loads((place / "identities.json").read_text())
        for key, place in (("old", uninterrupted), ("new", run_dir))
    }
    rows = [names["new"].index(name) for name in names["old"]]
    np.testing.assert_array_equal(new["head/0000/class_weights"][rows], old["head/0000/class_weights"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"strategy": "mirrored", "replicas": 3, "batch_size": 2}, "batch_size 2 cannot be divided among 3 replicas"),
        ({"strategy": "multiworker"}, "needs the environment variable TF_CONFIG"),
        ({"replicas": 2}, "replicas are a setting of strategy 'mirrored', got replicas=2"),
        ({"partition": "host"}, "partition='host' needs a sampler"),
        ({"init_from": "nowhere"}, "nowhere/checkpoints: no checkpoint"),
    ],
)
def test_bad_settings_are_refused(changes, message, uninterrupted, tmp_path, monkeypatch):
    # Once on, it stays on, and other tests of this process draw random numbers without a seed.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    settings = train_flags.read_flagfile(uninterrupted / "flags.txt")
    with pytest.raises(ValueError, match=message):
        train_in_this_process(dataclasses.replace(settings, run_dir=str(tmp_path / "bad"), **changes))
