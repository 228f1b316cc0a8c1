"""Programs that are killed and asked to end at random moments, again and again, and continue: nothing is lost but the
steps since the last save, nothing is changed, nothing half-made has a final name, nothing is left over.

The numbers of kills and signals of each job are below; TFFACE_CAMPAIGN=0.1 makes a tenth of them:

    python -m pytest -m slow tests/test_campaign.py
"""

import hashlib
import os
import pathlib
import random
import shutil
import signal
import time

import numpy as np
import pytest
from programs import curve, finish, session, start, start_workers

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="looks into /proc")]

SIZE = float(os.environ.get("TFFACE_CAMPAIGN", "1"))

FLAGS = """
--image_size=56
--backbone=MobileFaceNet(width=0.25)
--embedding_dim=64
--head=ArcFace(scale=16, margin=0.2)
--batch_size=24
--learning_rate=0.00003
--clip_norm=1
--ema=0.5
--schedule=Constant
--epochs=3
--heldout_pairs=40
--log_every=1
--save_every=5
--verify_every=20
"""

# Kills, and as many signals.
ATTEMPTS = {
    "train": 24,
    "train, mirrored": 10,
    "train, two workers": 6,
    "embed": 16,
    "convert": 16,
    "evaluate": 14,
    "export": 14,
    "protocol, search": 12,
    "protocol, identification": 12,
    "protocol, all pairs": 12,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Faces, records and a trained run."""
    from tfface import data
    from tfface.data.synthetic import rendering

    folder = tmp_path_factory.mktemp("campaign")
    rendering.write_folder(str(folder / "faces"), 60, 10, 56, 0, os.cpu_count(), lambda _: None)
    data.convert_folder(str(folder / "faces"), folder / "records", name="faces", holdout_identities=20)
    records = f"--train_data={folder}/records/train\n--heldout_data={folder}/records/heldout\n"
    (folder / "flags").write_text(FLAGS + records)
    finish(start("scripts/train.py", f"--flagfile={folder}/flags", f"--run_dir={folder}/run"))
    write_protocols(folder)
    return folder


def write_protocols(folder):
    """Makes probes and distractors of the faces, with MegaFace's lists of them."""
    people = sorted(path for path in (folder / "faces").iterdir() if path.is_dir())
    for place, chosen in (("probes", people[:20]), ("distractors/0", people[20:])):
        for person in chosen:
            shutil.copytree(person, folder / place / person.name)
    (folder / "lists").mkdir()
    for name, place in (("facescrub_lst", "probes"), ("megaface_lst", "distractors")):
        images = sorted(path for path in (folder / place).rglob("*") if path.is_file())
        lines = [f"{path.relative_to(folder / place).as_posix()}\n" for path in images]
        (folder / "lists" / name).write_text("".join(lines))


class Job:
    """A program, or two workers of one, that is called again until it has succeeded.

    Args:
      folder: of the inputs.
      output: path below which all of its output lies.
    """

    def __init__(self, folder, output):
        self.folder, self.output = folder, output

    def start(self):
        return [start(*self.command(), fresh=True, start_new_session=True)]

    def check(self):
        """Asserts the laws that hold at any moment."""

    def result(self):
        """Returns the outputs that do not depend on interruptions."""
        return {path.relative_to(self.output): digest(path) for path in files(self.output)}


class Train(Job):
    arguments = ()
    exact = True

    def command(self):
        arguments = [f"--flagfile={self.folder}/flags", f"--run_dir={self.output}", *self.arguments]
        # Whether the attempts before it came so far that there is a run.
        return ["scripts/train.py", *arguments, *(["--resume"] if (self.output / "flags.txt").exists() else [])]

    def saved(self):
        return max((int(path.name[5:]) for path in (self.output / "checkpoints").glob("step-*")), default=0)

    def check(self):
        steps = [int(step) for step, _ in curve(self.output)]
        assert steps == list(range(1, len(steps) + 1))
        assert self.saved() >= len(steps) // 5 * 5 - 5, "a checkpoint is missing"
        if (self.output / "export/1").exists():
            assert (self.output / "export/1/assets.extra/model_card.json").is_file()

    def result(self):
        found = {"curve": curve(self.output), "verification": (self.output / "verification.csv").read_text()}
        return found | {path.name: digest(path) for path in files(self.output / "checkpoints/step-50")}


class Mirrored(Train):
    arguments = ("--strategy=mirrored", "--replicas=2", "--partition=replicas")


class Workers(Train):
    arguments = ("--partition=replicas",)
    exact = False

    def start(self):
        return start_workers(2, *self.command()[1:], fresh=True, start_new_session=True)

    def result(self):
        return {"curve": curve(self.output)}


class Embed(Job):
    def command(self):
        model, data = f"--model={self.folder}/run", f"--data={self.folder}/records/train"
        return ["scripts/embed.py", model, data, f"--output={self.output}/e.npz", "--flip", "--batch_size=2"]


class Convert(Job):
    def command(self):
        options = "--holdout_identities=20", "--shards=8", "--workers=2", "--overwrite"
        return [
            "tfrecords_tools/from_folder.py",
            f"--input={self.folder}/faces",
            f"--output={self.output}/records",
            *options,
        ]

    def check(self):
        for description in self.output.glob("records/*/dataset.json"):
            names = [path.name for path in description.parent.glob("*.tfrecord")]
            assert len(names) == 8


class Evaluate(Job):
    def command(self):
        model, data = f"--model={self.folder}/run", f"--data={self.folder}/records/train"
        return ["scripts/evaluate.py", model, data, f"--output={self.output}", "--pairs=400", "--hardest=2"]


class Protocol(Job):
    protocol = ""

    def command(self):
        protocol = self.protocol.format(folder=self.folder)
        arguments = [f"--model={self.folder}/run", f"--output={self.output}", f"--protocol={protocol}"]
        return ["scripts/evaluate.py", *arguments, "--batch_size=2", "--flip"]


class Search(Protocol):
    protocol = "Retrieval(records='{folder}/faces', k=[1, 5])"


class Identification(Protocol):
    protocol = "MegaFace(facescrub='{folder}/probes', distractors='{folder}/distractors', lists='{folder}/lists')"


class AllPairs(Protocol):
    protocol = "TrillionPairs(probes='{folder}/probes', distractors='{folder}/distractors')"


class Export(Job):
    def command(self):
        version = 1 + len(list(self.output.glob("exports/[0-9]*")))
        return ["scripts/export.py", f"--model={self.folder}/run", f"--output={self.output}/exports/{version}"]

    def check(self):
        for export in self.output.glob("exports/[0-9]*"):
            assert (export / "saved_model.pb").is_file() and (export / "assets.extra/model_card.json").is_file()

    def result(self):
        (export,) = (path for path in self.output.glob("exports/1"))
        return {"card": digest(export / "assets.extra/model_card.json")}


JOBS = {
    "train": Train,
    "train, mirrored": Mirrored,
    "train, two workers": Workers,
    "embed": Embed,
    "convert": Convert,
    "evaluate": Evaluate,
    "export": Export,
    "protocol, search": Search,
    "protocol, identification": Identification,
    "protocol, all pairs": AllPairs,
}


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".owner")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hidden(folder):
    """Names of what is unfinished or temporary."""
    names = [path.name for path in folder.rglob("*")]
    return sorted(
        name for name in names if name.startswith((".", "tmp")) and name not in (".owner",) or "partial" in name
    )


@pytest.mark.parametrize("job", JOBS)
def test_interruptions_change_nothing(job, folder, tmp_path):
    # Temporary files of the system's folder are looked at too.
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        _campaign(JOBS[job], random.Random(job), max(1, round(SIZE * ATTEMPTS[job])), folder, tmp_path, temporary)
    finally:
        del os.environ["TMPDIR"]


def _campaign(make, rng, attempts, folder, tmp_path, temporary):
    job, finished, began = make(folder, tmp_path / "output"), 0, time.monotonic()
    expected = complete(job)
    shutil.rmtree(job.output)
    seconds = time.monotonic() - began
    signals = [signal.SIGTERM, signal.SIGINT] * -(-attempts // 2)
    kinds = [signal.SIGKILL] * attempts + signals[:attempts]
    rng.shuffle(kinds)
    for kind in kinds:
        before = job.saved() if isinstance(job, Train) else 0
        processes = job.start()
        time.sleep(rng.uniform(0, seconds))
        told = rng.choice([processes, processes[:1]]) if kind != signal.SIGKILL else processes[:1]
        for process in told:
            # A terminal sends Ctrl-C to the whole group.
            (os.killpg if kind == signal.SIGINT else os.kill)(process.pid, kind)
        ends = [(*process.communicate(timeout=400), process.returncode) for process in processes]
        check_ends(kind, processes, ends, told)
        if kind == signal.SIGKILL:
            for process in processes:
                for left in session(process.pid):  # Children of what was killed end when they notice.
                    wait_for_end(left)
            # Nobody can remove what a killed process had in the system's folder: code that TensorFlow generates.
            for path in temporary.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            assert not [left for process in processes for left in session(process.pid)]
            assert not list(temporary.iterdir())
        job.check()
        if isinstance(job, Train):
            assert job.saved() >= before
        if all(code == 0 for *_, code in ends):
            finished += 1
            compare(job, job.result(), expected)
            shutil.rmtree(job.output)
    compare(job, complete(job), expected)
    assert not hidden(job.output), hidden(job.output)
    seconds = time.monotonic() - began
    print(f"{attempts} kills and as many signals, {finished + 1} times complete, {seconds:.0f} s")


def complete(job):
    job.output.mkdir(parents=True, exist_ok=True)
    for process in job.start():
        finish(process)
    job.check()
    return job.result()


def check_ends(kind, processes, ends, told):
    for process, (_, errors, code) in zip(processes, ends, strict=True):
        if kind == signal.SIGKILL:
            assert code in ((-9, 0) if process in told else (0, 1)), errors
        else:
            # 0: it had just finished; negative: not even the interpreter was there yet.
            assert code in (0, 128 + kind, -kind) or (process not in told and code == 1), (code, errors)
            assert "Exception ignored" not in errors
        assert "Traceback" not in errors, errors
        if code == 1:
            assert "another worker has ended" in errors or "did not come within" in errors


def compare(job, found, expected):
    if getattr(job, "exact", True):
        assert found == expected
        return
    ours, theirs = (np.array([float(loss) for _, loss in each["curve"]]) for each in (found, expected))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def wait_for_end(pid):
    deadline = time.monotonic() + 30
    place = pathlib.Path("/proc", str(pid))
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not place.exists(), f"process {pid} is left"
