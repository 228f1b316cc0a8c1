"""Flagfiles: absl's own reading is the oracle for good ones, and bad ones end in a sentence."""

import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from tfface import flagfiles
from tfface.config import train_flags

PROGRAM = """
from absl import flags
from tfface.cli import program as cli
flags.DEFINE_string("name", None, "")
flags.DEFINE_integer("count", 0, "")
flags.DEFINE_list("many", [], "")
cli.run(lambda: print(flags.FLAGS.name, flags.FLAGS.count, flags.FLAGS.many))
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--flagfile=a.flags"],
        ["--flagfile", "a.flags", "--count=9"],
        ["-flagfile=b.flags"],
        ["--count=9", "--flagfile=b.flags", "--undefok=other", "--other=1"],
        ["--name=z", "--flagfile="],
    ],
)
def test_nested_files_give_what_absl_reads(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.flags").write_text("# why\n--name=x y\n\n// and\n  --count=3  \n--many=a,b\n")
    (tmp_path / "b.flags").write_text("--name=first\n--flagfile=a.flags\n--flagfile=a.flags\n--many=c\n")

    def parse(arguments):
        values = flags.FlagValues()
        flags.DEFINE_string("name", None, "", values)
        flags.DEFINE_integer("count", 0, "", flag_values=values)
        flags.DEFINE_list("many", [], "", values)
        flags.DEFINE_string("flagfile", "", "", values)
        flags.DEFINE_string("undefok", "", "", values)
        values(["program", *arguments])
        return values.name, values.count, values.many

    found = flagfiles.expand(["program", *arguments])
    assert not any("flagfile" in one for one in found)
    assert parse(found[1:]) == parse(arguments)


def test_what_follows_the_flags_is_left_alone():
    assert flagfiles.expand(["p", "--", "--flagfile=/dev/zero"]) == ["p", "--", "--flagfile=/dev/zero"]


def test_a_bad_flagfile_ends_a_program_in_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "itself").write_text("--flagfile=other\n")
    (tmp_path / "other").write_text("--flagfile=./itself\n")
    (tmp_path / "large").write_text("#" * (1 << 20) + "\n")
    (tmp_path / "bytes").write_bytes(b"--name=\xff\n")
    for number in range(40):
        (tmp_path / f"{number}").write_text(f"--flagfile={number + 1}\n")
    for name, message in (
        ("/dev/zero", "/dev/zero: not a regular file."),
        ("fifo", "fifo: not a regular file."),
        (".", ".: not a regular file."),
        ("itself", "itself: a flagfile that includes itself: "),
        ("large", "large: expected at most 1 MB"),
        ("bytes", "bytes: not a text file"),
        ("nowhere", "nowhere: no such flagfile; tfface comes with arcface/, broadface/, cfp.flags, "),
        ("broadface/tabel1.flags", "no such flagfile; tfface comes with broadface/base.flags, broadface/"),
        ("no/quickstart.flags", "no/quickstart.flags: no such flagfile; "),
        ("0", "flagfiles include each other more than 16 deep"),
    ):
        done = run(f"--flagfile={name}", cwd=tmp_path)
        assert done.returncode == 1 and done.stdout == "", name
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ") and message in line


def test_a_packaged_flagfile_is_found_by_its_name_unless_the_working_directory_has_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = pathlib.Path(__file__).resolve().parents[1] / "scripts" / "flagfiles"
    there = {path.relative_to(source).as_posix(): path for path in source.rglob("*.flags")}
    assert flagfiles.packaged() == there and there.keys() >= {"quickstart.flags", "arcface/table2.flags"}
    for name, path in there.items():
        named = flagfiles.expand(["p", f"--flagfile={name}", "--seed=1"])
        assert named == flagfiles.expand(["p", "--flagfile", str(path), "--seed=1"]) and len(named) > 2
    (tmp_path / "mine.flags").write_text("--flagfile=cfp.flags\n--epochs=1\n")
    included = flagfiles.expand(["p", "--flagfile=mine.flags"])
    assert included == [*flagfiles.expand(["p", "--flagfile=cfp.flags"]), "--epochs=1"]
    (tmp_path / "cfp.flags").write_text("--epochs=2\n")
    assert flagfiles.expand(["p", "--flagfile=cfp.flags"]) == ["p", "--epochs=2"]


def test_a_program_takes_the_flags_of_its_file(tmp_path):
    (tmp_path / "a").write_text("--name=x\n--many=1,2\n")
    assert run("--flagfile=a", "--count=2", cwd=tmp_path).stdout == "x 2 ['1', '2']\n"


@pytest.mark.parametrize(
    "line",
    [
        "--flagfile=/dev/zero",
        "--flagfile=flags.txt",
        "-flagfile=flags.txt",
        "--flagfile",
        "--undefok=flagfile",
        "--help",
        "--",
        "-",
        "epochs=3",
        "/dev/zero",
    ],
)
def test_the_flags_of_a_run_include_nothing(tmp_path, line):
    path = tmp_path / "flags.txt"
    path.write_text("--run_dir=r\n--train_data=t\n--epochs=3\n")
    assert train_flags.read_flagfile(path).epochs == 3
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"flags\.txt: expected a setting of a run.* got '"):
        train_flags.read_flagfile(path)


def test_the_flags_of_a_run_are_a_regular_file_of_bounded_size(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--run_dir=r\n--train_data=t\n" + "#" * (1 << 20))
    with pytest.raises(ValueError, match=r"flags\.txt: expected at most 1 MB"):
        train_flags.read_flagfile(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"flags\.txt: not a regular file"):
        train_flags.read_flagfile(path)


def test_a_flagfile_that_names_none_is_named(tmp_path):
    (tmp_path / "a.flags").write_text("--epochs=3\n--flagfile\n")
    with pytest.raises(ValueError, match=r"a\.flags: --flagfile needs the name of a file"):
        flagfiles.expand(["program", f"--flagfile={tmp_path / 'a.flags'}"])
