"""Laws of ownership: one process at a time, whatever way the one before it ended."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from tfface import ownership

OWN = """
import sys
from tfface import ownership
with ownership.owned(sys.argv[1]):
    print("owns", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """A process that owns the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "owns\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("steal", [False, True])
def test_a_living_owner_keeps_its_folder(other, steal, tmp_path):
    message = f"{tmp_path} is in use by process {other.pid} on {socket.gethostname()} since 20"
    with pytest.raises(ValueError, match=message), ownership.owned(tmp_path, steal=steal):
        pass
    # Nor did the attempt take anything from the owner.
    assert json.loads((tmp_path / ownership.FILE).read_text())["pid"] == other.pid


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_owner_leaves_its_folder(other, signum, tmp_path):
    other.send_signal(signum)
    other.wait()
    with ownership.owned(tmp_path):
        pass


def test_an_owner_that_ended_leaves_its_folder(other, tmp_path):
    (tmp_path / "work").touch()
    other.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    with ownership.owned(tmp_path):
        pass


def test_a_folder_that_stayed_empty_is_removed(tmp_path):
    with ownership.owned(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_parts_of_a_folder_have_their_own_owners(other, tmp_path):
    with ownership.owned(tmp_path, name=".part.owner"):
        second = pytest.raises(ValueError, match="in use by process")
        with second, ownership.owned(tmp_path, name=".part.owner"):
            pass


def test_of_many_that_come_at_once_one_at_a_time_is_the_owner(tmp_path):
    """Each adds one to a number in the folder, not atomically."""
    code = """
import pathlib, sys, time
from tfface import ownership
done = 0
while done < 25:
    try:
        with ownership.owned(sys.argv[1]):
            counter = pathlib.Path(sys.argv[1], "counter")
            number = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(number + 1))
            done += 1
    except ValueError:
        time.sleep(0.001)
"""
    (tmp_path / "counter").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(200) for process in processes] == [0] * 4
    assert (tmp_path / "counter").read_text() == "100"


def test_an_owner_elsewhere_is_believed_until_it_is_said_to_be_dead(tmp_path):
    (tmp_path / ownership.FILE).write_text('{"host": "elsewhere", "pid": 7, "since": "2026-01-01T00:00:00+00:00"}')
    message = "process 7 on elsewhere since 2026-01-01T00:00:00.*cannot be seen from here. If it has ended, --steal"
    with pytest.raises(ValueError, match=message), ownership.owned(tmp_path, remedy="--steal it"):
        pass
    with ownership.owned(tmp_path, steal=True):
        pass
    with ownership.owned(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"host": 3}', "x" * 100_000])
def test_what_an_owner_half_wrote_keeps_nobody_out(content, tmp_path):
    (tmp_path / ownership.FILE).write_text(content)
    with ownership.owned(tmp_path, steal=content.startswith('{"host"')):
        assert json.loads((tmp_path / ownership.FILE).read_text())["host"] == socket.gethostname()


def test_without_locks_the_content_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "fcntl", None)
    seen = pytest.raises(ValueError, match="cannot be seen from here")
    with ownership.owned(tmp_path), seen, ownership.owned(tmp_path):
        pass
    with ownership.owned(tmp_path):
        pass


def test_folders_are_owned_one_by_one(other, tmp_path):
    with ownership.owned(tmp_path / "another"):
        pass
