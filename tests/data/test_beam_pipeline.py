"""Files that Apache Beam makes: once each, with one sentence for what fails, by processes of this machine."""

import errno
import functools
import os

import pytest
import tensorflow as tf
from beam_runs import options

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra `beam`)")


def maker(fail=None):
    """Makes a function that writes the name of a file into it, and fails at those that `fail` names."""

    def make(path):
        if path.name in (fail or {}):
            raise fail[path.name]
        path.write_text(path.name)

    return make


def paths(folder, count=5):
    return [folder / f"file-{number}" for number in range(count)]


@pytest.mark.parametrize("runner", [(), ("--runner=DirectRunner",), ("--runner=direct",)])
def test_the_direct_runner_downloads_nothing(tmp_path, monkeypatch, runner):
    from apache_beam.runners.portability import prism_runner

    from tfface.data.beam_pipeline import make_files

    asked = []
    monkeypatch.setattr(prism_runner.PrismRunner, "run_pipeline", lambda self, *_: asked.append(self))
    make_files(maker, paths(tmp_path), options(*runner))
    assert not asked
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == [path.name for path in paths(tmp_path)]


@pytest.mark.parametrize(
    "error, message",
    [
        (ValueError("a/b.jpg: a damaged image."), r"^a/b\.jpg: a damaged image\.$"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "a/b.jpg"), r"^a/b\.jpg: Permission denied\.$"),
        (tf.errors.DataLossError(None, None, "a/b: truncated record at 12"), "^a/b: truncated record at 12$"),
    ],
)
def test_what_a_machine_refuses_is_one_sentence(tmp_path, error, message):
    from tfface.data.beam_pipeline import make_files

    with pytest.raises(ValueError, match=message):
        make_files(functools.partial(maker, {"file-3": error}), paths(tmp_path), options())
    assert not list(tmp_path.glob("*.failed"))
    make_files(maker, paths(tmp_path), options())
    assert len(list(tmp_path.iterdir())) == 5


def test_a_file_that_does_not_come_is_an_error(tmp_path):
    from tfface.data.beam_pipeline import make_files

    with pytest.raises(OSError, match=r"file-0 was not written: all machines of the pipeline must see it"):
        make_files(lambda: lambda path: None, paths(tmp_path), options())


def test_relative_paths_are_those_of_the_program(tmp_path, monkeypatch):
    """A process of a runner starts in a folder of its own."""
    from tfface.data.beam_pipeline import _MakeFile

    (tmp_path / "of_program").mkdir()
    (tmp_path / "of_machine").mkdir()
    monkeypatch.chdir(tmp_path / "of_program")
    sent = _MakeFile(maker)
    monkeypatch.chdir(tmp_path / "of_machine")
    sent.setup()
    sent.process("file-0")
    assert (tmp_path / "of_program" / "file-0").is_file()
    monkeypatch.chdir(tmp_path / "of_machine")
    (tmp_path / "of_program" / "file-0").unlink()
    (tmp_path / "of_program").rmdir()
    sent.setup()  # A machine without the folder.
    sent.process(str(tmp_path / "absolute"))
    assert (tmp_path / "absolute").is_file()
