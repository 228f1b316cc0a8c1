"""Whatever a file is that somebody names as input, it is read only if it is a regular file of bounded size."""

import os
import socket
import subprocess

import pytest

from tfface import files
from tfface.data.formats.image_files import read_image_file
from tfface.data.formats.landmarks import read_landmarks
from tfface.data.protocols import megaface_lists, templates
from tfface.data.protocols.lfw_lists import read_lfw_people
from tfface.data.protocols.pair_lists import read_pairs
from tfface.data.sources.image_lists import ListSource
from tfface.data.sources.insightface_bin import BinSource
from tfface.data.sources.recordio_source import RecordIOSource
from tfface.data.sources.zip_folders import ZipSource
from tfface.evaluation.metrics.groups import read_groups
from tfface.evaluation.reports.comparison import read_papers, read_run

READERS = {
    "bin": lambda path: list(BinSource(path).items()),
    "csv": lambda path: list(ListSource(path).items()),
    "groups": read_groups,
    "image": read_image_file,
    "landmarks": read_landmarks,
    "lst": lambda path: list(ListSource(path).items()),
    "megaface": lambda path: megaface_lists.read_megaface_list(path, 2),
    "pairs": read_pairs,
    "papers": read_papers,
    "people": read_lfw_people,
    "rec": lambda path: list(RecordIOSource(path).items()),
    "results": read_run,
    "subjects": templates.read_template_subjects,
    "template pairs": templates.read_template_pairs,
    "zip": ZipSource,
}


@pytest.mark.parametrize("name", READERS)
def test_a_fifo_is_refused_and_not_waited_for(tmp_path, name):
    path = tmp_path / f"input.{name.replace(' ', '_')}"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a regular file"):
        READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_device_without_an_end_is_refused(tmp_path, name):
    path = tmp_path / f"input.{name.replace(' ', '_')}"
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="not a regular file"):
        READERS[name](path)


def test_a_regular_file_is_read_whole_up_to_the_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"123")
    assert files.read_regular(path, 3) == b"123"
    with pytest.raises(files.Unreadable, match="a: expected at most 2 bytes, got 3 bytes") as error:
        files.read_regular(path, 2)
    assert error.value.reason == "expected at most 2 bytes, got 3 bytes"
    with pytest.raises(files.Unreadable, match="not a regular file"):
        files.open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.open_regular(tmp_path / "b")
    with pytest.raises(files.Unreadable, match="zero character"):
        files.open_regular("a\0b")


def test_what_dead_processes_left_is_removed_and_what_others_are_at_is_not(tmp_path):
    host, dead = socket.gethostname(), subprocess.Popen(["true"])
    dead.wait()
    left = [
        tmp_path / f".new.{host}-{dead.pid}.partial",
        tmp_path / f".new.{host}-{os.getpid()}.partial",
    ]
    kept = [
        tmp_path / f".new.{host}-{os.getppid()}.partial",
        tmp_path / f".new.elsewhere-{dead.pid}.partial",
        tmp_path / f".other.{host}-{dead.pid}.partial",
        tmp_path / f".new.{host}-x.partial",
    ]
    for number, path in enumerate([*left, *kept]):
        path.mkdir() if number % 2 else path.write_text("unfinished")
    files.write_atomically(tmp_path / "new", b"content")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "new", *kept])
    with files.temporary_folder(beside=tmp_path / "new") as folder:
        assert list(folder.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "new", *kept])
