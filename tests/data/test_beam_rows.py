"""Verification and overlap by Apache Beam: the files of one process, also after a failure and a kill."""

import functools
import shutil

import pytest
from beam_runs import kill_and_repeat, options, processes

from tfface.data.beam_rows import rows_beside
from tfface.data.conversion.convert import convert
from tfface.data.curation import image_hashes, integrity, overlap
from tfface.data.sources.folders import FolderSource
from tfface.data.sources.records_source import RecordsSource

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra `beam`)")

RUNNERS = [(), *(pytest.param(processes(count), marks=pytest.mark.slow) for count in (2, 4))]


@pytest.fixture
def photos(tmp_path, picture):
    """Folder of 8 people: copies of pictures under two names, and files that are no pictures."""
    root = tmp_path / "photos"
    for person in range(8):
        (root / f"p{person}").mkdir(parents=True)
        for shot in range(6):
            (root / f"p{person}" / f"{shot}.png").write_bytes(picture(10 * (person % 7) + shot))
        (root / f"p{person}" / "bad.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def records(photos, tmp_path):
    """Dataset of them with a damaged record."""
    convert(FolderSource(photos), tmp_path / "toy", num_shards=7, skip_bad=True)
    damage(sorted((tmp_path / "toy").glob("*.tfrecord"))[2])
    return tmp_path / "toy"


def damage(shard):
    content = bytearray(shard.read_bytes())
    content[100] ^= 4
    shard.write_bytes(content)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(image_hashes, "_PART", 5)


def report(dataset, path, run=None):
    integrity.write_report(path, integrity.verify_dataset(dataset, run=run))
    return path.read_bytes()


@pytest.mark.parametrize("of_beam", RUNNERS, ids=lambda of_beam: of_beam[-1][-1] if of_beam else "here")
def test_the_report_of_machines_is_that_of_one_process(records, tmp_path, of_beam):
    sorted(records.glob("*.tfrecord"))[5].unlink()
    expected = report(records, tmp_path / "expected.csv")
    assert expected.count(b"\nproblem,") == 3 and expected.count(b"\nsame file,") >= 6
    output = tmp_path / "found" / "report.csv"
    with rows_beside(output, options(*of_beam)) as run:
        assert report(records, output, run) == expected
    assert [path.name for path in output.parent.iterdir()] == ["report.csv"]


@pytest.mark.parametrize("of_beam", RUNNERS, ids=lambda of_beam: of_beam[-1][-1] if of_beam else "here")
def test_the_overlap_of_machines_is_that_of_one_process(photos, records, tmp_path, of_beam):
    sets = RecordsSource(records), [FolderSource(photos)]
    expected = overlap.find_overlap(*sets)
    assert len(expected) == 8 + 47  # Persons by name, and all pictures but the damaged one.
    with rows_beside(tmp_path / "overlap.csv", options(*of_beam)) as run:
        assert overlap.find_overlap(*sets, run=run) == expected
    assert not list(tmp_path.glob("*.partial"))


def test_bad_images_are_named_and_counted_as_by_one_process(photos, tmp_path):
    expected = image_hashes.hash_images(FolderSource(photos))
    with rows_beside(tmp_path / "out", options()) as run:
        found = image_hashes.hash_images(FolderSource(photos), run=run)
    assert found.keys == expected.keys and found.identities == expected.identities
    assert found.digests.tobytes() == expected.digests.tobytes()
    assert found.perceptual.tobytes() == expected.perceptual.tobytes()
    assert found.bad == expected.bad == [(f"p{person}/bad.png", found.bad[0][1]) for person in range(8)]


def squares(fail=()):
    """Work on a number: the rows up to its square; fails at the numbers that are given."""

    def work(number, workers):
        if number in fail:
            raise ValueError(f"number {number} is bad.")
        return [[row] for row in range(number * number)]

    return work


def test_after_a_failure_only_what_is_missing_is_made(tmp_path):
    folder = tmp_path / "out.partial"
    with pytest.raises(ValueError, match=r"^number 3 is bad\.$"), rows_beside(tmp_path / "out", options()) as run:
        run(functools.partial(squares, fail=[3]), range(5), [[int]], list)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert len(kept) == 4
    with rows_beside(tmp_path / "out", options()) as run:
        found = [len(rows) for rows in run(squares, range(5), [[int]], list)]
        assert {path: path.stat().st_mtime_ns for path in kept} == kept and len(list(folder.glob("*.json"))) == 5
    assert found == [0, 1, 4, 9, 16] and not folder.exists()


def test_what_changed_meanwhile_is_read_again(records, tmp_path):
    output = tmp_path / "report.csv"
    with pytest.raises(RuntimeError), rows_beside(output, options()) as run:
        report(records, output, run)
        raise RuntimeError
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "report.csv.partial").glob("*.json")}
    shards = sorted(records.glob("*.tfrecord"))
    damage(shards[0])
    expected = report(records, tmp_path / "expected.csv")
    assert expected.count(b"\nproblem,") == 4
    with rows_beside(output, options()) as run:
        assert report(records, output, run) == expected
        assert {path: path.stat().st_mtime_ns for path in kept} == kept and len(kept) == len(shards) == 7


def test_two_programs_never_work_in_one_folder(tmp_path):
    with rows_beside(tmp_path / "out"), pytest.raises(ValueError, match="is in use by"), rows_beside(tmp_path / "out"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("program", ["verify", "overlap", "from-folder"])
def test_a_killed_worker_leaves_the_bytes_of_one_process(tmp_path, picture, program):
    photos, pictures = tmp_path / "photos", [picture(number, size=(112, 112)) for number in range(20)]
    for person in range(20):
        (photos / f"p{person:02d}").mkdir(parents=True)
        for shot in range(75):
            (photos / f"p{person:02d}" / f"{shot}.png").write_bytes(pictures[(person + shot * shot) % 20])
    convert(FolderSource(photos), tmp_path / "toy", num_shards=12)
    if program == "from-folder":
        arguments = [f"--input={photos}", f"--output={tmp_path / 'made'}", "--name=toy", "--shards=12"]
        kill_and_repeat(["records", program, *arguments], lambda: list(tmp_path.glob("made/.toy.partial/*.tfrecord")))
        expected = {path.name: path.read_bytes() for path in (tmp_path / "toy").iterdir()}
        assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == expected
        return
    if program == "verify":
        report(tmp_path / "toy", tmp_path / "expected.csv")
        arguments = [f"--input={tmp_path / 'toy'}", f"--report={tmp_path / 'found.csv'}"]
    else:
        shutil.copytree(photos / "p00", tmp_path / "test" / "x")
        sets = RecordsSource(tmp_path / "toy"), [FolderSource(tmp_path / "test")]
        overlap.write_exclusions(tmp_path / "expected.csv", overlap.find_overlap(*sets))
        arguments = [f"--train={tmp_path / 'toy'}", f"--test={tmp_path / 'test'}", f"--output={tmp_path / 'found.csv'}"]
    kill_and_repeat(["records", program, *arguments], lambda: list(tmp_path.glob("found.csv.partial/*.json")))
    assert (tmp_path / "found.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert not list(tmp_path.glob("*.partial"))
