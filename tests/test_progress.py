"""Progress in a log: whole lines, few of them, with rate and time left; none if it is to be quiet."""

import io
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tfface import progress

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def clock(monkeypatch):
    """A clock of tqdm and of the lines, which stands still; `clock[0]` is its time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.tqdm, "_time", staticmethod(lambda: now[0]), raising=False)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    # Its thread would look at bars by real time.
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)
    return now


def test_an_hour_of_steps_writes_few_lines_with_rate_and_time_left(clock, capsys):
    steps = 28_800
    with progress.bar(total=steps, desc="train", unit=" steps") as bar:
        for step in range(steps):
            clock[0] += 1 / 8
            bar.update()
            if step % 100 == 0:
                bar.set_postfix_str(f"loss {step}, 640 images/s")
                progress.note(f"note {step}")
    text = capsys.readouterr().err
    assert "\r" not in text and text.endswith("\n")
    lines = [line for line in text.splitlines() if not line.startswith("note ")]
    assert 100 < len(lines) < 1000
    assert text.count("note ") == 288
    # Eight steps per second: what is left follows from the step.
    for line in lines[:-1]:
        done, left = re.fullmatch(
            r"train: +\d+% (\d+)/28800 \[[\d:]+<([\d:]+), +8\.00 steps/s, loss \d+, 640 images/s\]", line
        ).groups()
        seconds = sum(int(part) * 60**place for place, part in enumerate(reversed(left.split(":"))))
        assert abs(seconds - (steps - int(done)) / 8) < 30
    assert re.match(r"train: 100% 28800/28800 \[1:00:00<00:00, ", lines[-1])


def test_short_work_writes_one_line_and_slow_work_its_lines(clock, capsys):
    for _ in progress.bar(range(5), desc="search", unit=" blocks"):
        clock[0] += 1
    assert re.fullmatch(r"search: 100% 5/5 \[00:05<00:00, +1\.00 blocks/s\]\n", capsys.readouterr().err)
    for _ in progress.bar(range(3), desc="search", unit=" blocks"):
        clock[0] += 50
    assert len(capsys.readouterr().err.splitlines()) == 4
    with progress.bar(desc="detect", unit=" images") as bar:  # How many there are is not known.
        bar.update(7)
    assert "detect: 7 images [00:00" in capsys.readouterr().err


def test_quiet_shows_no_progress_but_notes(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_quiet", False)
    progress.be_quiet()
    assert list(progress.bar(range(3), desc="search")) == [0, 1, 2]
    with progress.bar(total=3) as bar:
        bar.update(3)
    progress.detail("A detail.")
    progress.note("3 images are left out.")
    assert capsys.readouterr().err == "3 images are left out.\n"


def test_a_terminal_has_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    for _ in progress.bar(range(3), desc="search"):
        pass
    assert "\rsearch: 100%|" in sys.stderr.getvalue()


PROGRAM = """
from tfface import progress
from tfface.cli import program

def main():
    for _ in progress.bar(range(3), desc="work"):
        pass
    progress.note("a note")

program.run(main)
"""


def test_every_program_can_be_quiet(tmp_path):
    def run(*flags):
        path = tmp_path / "program.py"
        path.write_text(PROGRAM)
        done = subprocess.run([sys.executable, str(path), *flags], capture_output=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stderr.decode()

    assert re.fullmatch(r"work: 100% 3/3 \[.*\]\na note\n", run())
    assert run("--quiet") == "a note\n"


@pytest.mark.slow
def test_a_training_in_a_pipe_writes_whole_lines(tmp_path):
    few = ("--synthetic_identities=10", "--synthetic_heldout=6", "--synthetic_images=4", "--batch_size=8", "--epochs=2")
    flags = ("--flagfile=quickstart.flags", *few, "--save_every=10", "--verify_every=10", "--warmup_epochs=0")
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *flags, f"--run_dir={tmp_path / 'run'}"]
    # The library turns the log of TensorFlow's C++ off unless a user, or tests/conftest.py, has chosen a level.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    # Bytes, because Python would read a carriage return as the end of a line.
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"\r" not in done.stdout + done.stderr
    lines = done.stderr.decode().splitlines()
    # One line for each piece of work, and more only where one takes long.
    kinds = list(dict.fromkeys(line.partition(":")[0] for line in lines))
    planned = ["Plan", "Memory per replica", "Per step"]
    assert kinds == ["render", "convert synthetic", *planned, "train", "Peak memory"]
    assert re.search(r"train: 100% 10/10 \[.*<00:00, .*steps.*, loss [\d.]+, \d+ images/s\]", lines[-2])
