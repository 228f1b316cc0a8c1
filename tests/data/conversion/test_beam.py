"""Conversion by Apache Beam gives the bytes of the conversion by threads."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from beam_runs import options, processes

from tfface.data.conversion import convert
from tfface.data.images.alignment import reference_landmarks
from tfface.data.sources.aligned_source import AlignedSource
from tfface.data.sources.folders import FolderSource

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra `beam`)")


def writer(*of_beam):
    from tfface.data.conversion.beam import shard_writer

    return shard_writer(options(*of_beam))


@pytest.fixture
def write():
    return writer("--runner=DirectRunner")


ROOT = pathlib.Path(__file__).resolve().parents[3]


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("holdout, of_beam", [(0, ()), (2, ()), pytest.param(2, processes(2), marks=pytest.mark.slow)])
def test_beam_writes_the_same_bytes(faces, tmp_path, holdout, of_beam):
    (faces / "person_1" / "bad.jpg").write_text("no image")
    columns = ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
    (faces / "landmarks.csv").write_text(f"path,{columns}\nperson_0/frontal/00.jpg,1,2,3,4,5,6,7,8,9,10.5\n")
    arguments = {"name": "toy", "num_shards": 4, "holdout_identities": holdout, "skip_bad": True}
    one = convert.convert(FolderSource(faces), tmp_path / "threads", **arguments)
    other = convert.convert(FolderSource(faces), tmp_path / "beam", write=writer(*of_beam), **arguments)
    assert one.skipped == other.skipped
    assert contents(tmp_path / "threads") == contents(tmp_path / "beam")


def test_aligned_faces_and_the_count_of_those_cut_off_are_the_same(faces, tmp_path):
    """Some landmarks are not known, as of CFP's half faces, and other machines find which faces are cut off."""
    points = reference_landmarks() * 0.16
    points[1] = np.nan
    shifts = {item.key: number % 3 * 5 for number, item in enumerate(FolderSource(faces).items())}
    table = {key: (points - [0, shift]).ravel() for key, shift in shifts.items()}
    found = {}
    for name, write in (("threads", None), ("beam", writer())):
        source = AlignedSource(FolderSource(faces), table)
        convert.convert(source, tmp_path / name, name="toy", num_shards=3, skip_bad=True, write=write)
        found[name] = contents(tmp_path / name), source.cut_off
    assert found["beam"] == found["threads"] and 0 < len(found["threads"][1]) < len(shifts)


def test_bad_image_stops_it_in_one_sentence(write, faces, tmp_path):
    (faces / "person_1" / "bad.jpg").write_text("no image")
    with pytest.raises(ValueError, match="person_1/bad.jpg: not a JPEG or PNG image"):
        convert.convert(FolderSource(faces), tmp_path / "beam", write=write)
    assert not (tmp_path / "beam").exists()


@pytest.mark.slow
def test_program_takes_options_of_the_pipeline(faces, tmp_path):
    command = [sys.executable, "tfrecords_tools/from_folder.py", f"--input={faces}", "--name=toy", "--shards=2"]
    for arguments in (
        ["--output", tmp_path / "threads"],
        ["--output", tmp_path / "beam", "--beam=--runner=DirectRunner"],
    ):
        done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "threads") == contents(tmp_path / "beam")
