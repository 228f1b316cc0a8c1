"""The laws of conversion: it is reproducible, all or nothing, and continues after SIGKILL."""

import contextlib
import json
import pathlib
import random
import resource
import subprocess
import sys

import pytest

from tfface.data import records
from tfface.data.conversion import convert, plan, staging, writer

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def images(picture):
    """Dict of 40 images of 4 identities."""
    return {f"id{index % 4}/{index:03d}.png": picture(index) for index in range(40)}


def contents(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def visible(directory):
    return {path: data for path, data in contents(directory).items() if not path.startswith(".")}


@contextlib.contextmanager
def file_size_limit(limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # Python ignores SIGXFSZ, so writing gives an error.
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_same_images_give_same_bytes_for_any_order_and_number_of_workers(memory_source, images, tmp_path):
    convert.convert(memory_source(images), tmp_path / "one", name="toy", num_shards=5, workers=1)
    shuffled = dict(random.Random(0).sample(list(images.items()), len(images)))
    convert.convert(memory_source(shuffled), tmp_path / "four", name="toy", num_shards=5, workers=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


def test_bad_images_leave_no_mark_on_the_others(memory_source, images, tmp_path):
    """The output is a function of the good images, even if an identity vanishes and labels change."""
    bad = {f"id{index % 4}/bad{index}.png": b"no image" for index in range(9)} | {"id00/only.png": b""}
    options = {"name": "toy", "num_shards": 5, "holdout_identities": 2}
    plain = convert.convert(memory_source(images), tmp_path / "plain", **options)
    result = convert.convert(memory_source({**bad, **images}), tmp_path / "bad", skip_bad=True, **options)
    assert sorted(result.skipped) == sorted(
        (key, f"not a JPEG or PNG image{'' if data else ' but an empty file'}") for key, data in bad.items()
    )
    assert [*result.datasets.values()] == [*plain.datasets.values()]
    report = (tmp_path / "bad" / "skipped.txt").read_text().splitlines()
    assert sorted(report) == sorted(
        f"{key}: not a JPEG or PNG image{'' if data else ' but an empty file'}" for key, data in bad.items()
    )
    (tmp_path / "bad" / "skipped.txt").unlink()
    assert contents(tmp_path / "bad") == contents(tmp_path / "plain")


@pytest.mark.parametrize("key", ["/etc/1.png", "id0/../../1.png", "id0/\n.png", "id0/\udcff.png", "/", ""])
def test_names_that_are_none_are_bad(memory_source, images, tmp_path, key):
    result = convert.convert(memory_source({**images, key: b""}), tmp_path / "toy", skip_bad=True)
    ((place, _),) = result.skipped
    assert place == (key if key.isprintable() else ascii(key))
    assert records.DatasetInfo.load(tmp_path / "toy").images == 40


def test_landmarks_that_are_none_are_bad(memory_source, images, tmp_path):
    (first, data), (second, _), *_ = images.items()
    images |= {first: (data, (1.0,) * 8), second: (data, (float("nan"),) * 10)}
    result = convert.convert(memory_source(images), tmp_path / "toy", skip_bad=True)
    assert {place for place, _ in result.skipped} == {first, second}


def test_default_is_one_small_shard_and_never_an_empty_one(memory_source, images, tmp_path):
    some = dict(list(images.items())[:3])
    (info,) = convert.convert(memory_source(some), tmp_path / "default").datasets.values()
    assert len(info.shards) == 1
    (info,) = convert.convert(memory_source(some), tmp_path / "many", num_shards=9).datasets.values()
    assert [shard.images for shard in info.shards] == [1, 1, 1]


def test_default_shards_have_about_the_stated_size(memory_source, picture, tmp_path, monkeypatch):
    images = {f"id{index % 4}/{index}.png": picture(index) for index in range(600)}
    monkeypatch.setattr(plan, "BYTES_PER_SHARD", 100_000)
    (info,) = convert.convert(memory_source(images), tmp_path / "toy").datasets.values()
    expected = sum(map(len, images.values())) / 100_000
    assert expected > 5 and abs(len(info.shards) - expected) < 1.5


def test_mixed_sizes_have_no_common_size(memory_source, images, picture, tmp_path):
    images["id0/other.png"] = picture(0, size=(9, 9))
    (info,) = convert.convert(memory_source(images), tmp_path / "toy", num_shards=7).datasets.values()
    assert info.image_size is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_shards": 0}, "`num_shards` must be .* got 0"),
        ({"name": "../toy"}, "`name` must consist of .* got '../toy'"),
        ({"holdout_identities": 3}, "cannot hold out 3 of 4"),
    ],
)
def test_bad_arguments_leave_nothing(memory_source, images, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        convert.convert(memory_source(images), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_key_that_occurs_twice_is_refused(memory_source, images, tmp_path):
    source = memory_source(images)
    items = source.items()
    source.items = lambda: [*items, items[7]]
    with pytest.raises(ValueError, match=f"input: key '{items[7].key}' occurs twice"):
        convert.convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_existing_dataset_is_kept_unless_overwritten(memory_source, images, tmp_path):
    convert.convert(memory_source(images), tmp_path / "toy", num_shards=3)
    before = contents(tmp_path / "toy")
    some = memory_source(dict(list(images.items())[:6]))
    with pytest.raises(ValueError, match=r"dataset\.json exists already"):
        convert.convert(some, tmp_path / "toy")
    assert contents(tmp_path / "toy") == before
    (tmp_path / "toy" / "dataset.json").unlink()
    with pytest.raises(ValueError, match=r"toy-00000-of-00003\.tfrecord exists already"):
        convert.convert(some, tmp_path / "toy")
    convert.convert(some, tmp_path / "toy", num_shards=2, overwrite=True)
    assert records.DatasetInfo.load(tmp_path / "toy").images == 6
    assert len(contents(tmp_path / "toy")) == 4


class Interruption(Exception):
    """Stands for anything that ends a program."""


def interrupted(source, after):
    """A source that fails after a number of reads."""
    read, count = source.read, iter(range(after))

    def failing(item):
        if next(count, None) is None:
            raise Interruption
        return read(item)

    source.read = failing
    return source


@pytest.mark.parametrize("workers", [1, 3])
def test_interruption_keeps_the_old_dataset_and_what_is_finished(memory_source, images, tmp_path, workers):
    options = {"name": "toy", "num_shards": 8, "workers": workers}
    convert.convert(memory_source(images), tmp_path / "new", **options)
    old = tmp_path / "old"
    convert.convert(memory_source(dict(list(images.items())[:9])), old, name="toy")
    before = contents(old)
    with pytest.raises(Interruption):
        convert.convert(interrupted(memory_source(images), 30), old, overwrite=True, **options)
    assert visible(old) == before
    source, reads = memory_source(images), []
    read = source.read
    source.read = lambda item: reads.append(item.key) or read(item)
    convert.convert(source, old, overwrite=True, **options)
    assert contents(old) == contents(tmp_path / "new")
    assert 0 < len(reads) < 40 and len(reads) % 5 == 0  # There are 5 images in a shard.


def test_another_input_is_not_mixed_with_what_is_finished(memory_source, images, picture, tmp_path):
    out = tmp_path / "out"
    for change in ({}, {"id0/new.png": picture(50)}):
        with pytest.raises(Interruption):
            convert.convert(interrupted(memory_source({**images, **change}), 30), out, num_shards=8, workers=1)
    source = memory_source({key: picture(1000 + index) for index, key in enumerate(images)})
    source.fingerprint = "other bytes behind the same keys"
    convert.convert(source, out, num_shards=8)
    convert.convert(source, tmp_path / "whole" / "out", num_shards=8)
    assert contents(out) == contents(tmp_path / "whole" / "out")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"plan": 1}'])
def test_note_that_is_damaged_counts_as_none(memory_source, images, tmp_path, damage):
    out = tmp_path / "out"
    with pytest.raises(Interruption):
        convert.convert(interrupted(memory_source(images), 30), out, num_shards=8, workers=1)
    notes = list((out / ".out.partial").glob("*.tfrecord.json"))
    assert notes
    for note in notes:
        note.write_bytes(damage)
        note.with_suffix("").write_bytes(b"half")
    convert.convert(memory_source(images), out, num_shards=8)
    convert.convert(memory_source(images), tmp_path / "whole" / "out", num_shards=8)
    assert contents(out) == contents(tmp_path / "whole" / "out")


@pytest.mark.parametrize("stop", range(11))
def test_publication_is_gone_on_with_from_any_step(memory_source, images, tmp_path, monkeypatch, stop):
    """Two datasets replace two others; the program ends before it publishes the n-th file."""
    options = {"name": "toy", "num_shards": 2, "holdout_identities": 2, "overwrite": True}
    out, whole = tmp_path / "out", tmp_path / "whole"
    convert.convert(memory_source(dict(list(images.items())[:20])), out, **options)
    convert.convert(memory_source(images), whole, **options)
    replace, count = pathlib.Path.replace, iter(range(4 + stop))

    def failing(path, target):
        if next(count, None) is None:
            raise Interruption
        return replace(path, target)

    with monkeypatch.context() as patch, contextlib.suppress(Interruption):
        patch.setattr(pathlib.Path, "replace", failing)
        convert.convert(memory_source(images), out, **options)
    for part in ("train", "heldout"):  # A reader sees whole datasets or none.
        if (out / part / "dataset.json").exists():
            records.resolve_shards(out / part)
    convert.convert(memory_source(images), out, **options)
    assert contents(out) == contents(whole)


def test_full_disk_is_an_os_error_naming_the_file(memory_source, picture, tmp_path):
    images = {f"id{index % 4}/{index}.png": picture(index, size=(200, 200)) for index in range(30)}
    with file_size_limit(100_000), pytest.raises(OSError, match=r"toy-0000\d-of-00002\.tfrecord: File too large"):
        convert.convert(memory_source(images), tmp_path / "toy", num_shards=2)
    assert visible(tmp_path / "toy") == {}
    convert.convert(memory_source(images), tmp_path / "toy", num_shards=2)
    assert records.DatasetInfo.load(tmp_path / "toy").images == 30


def test_no_space_left_is_named_as_such(memory_source, images, tmp_path, monkeypatch):
    monkeypatch.setattr(writer.secrets, "token_hex", lambda length: "full")
    path = tmp_path / ".toy.partial" / "toy-00000-of-00001.tfrecord"
    begin = staging.Stage.begin

    def begin_full(stage, *arguments):
        begin(stage, *arguments)
        path.with_name(f"{path.name}.full.tmp").symlink_to("/dev/full")

    monkeypatch.setattr(staging.Stage, "begin", begin_full)
    with pytest.raises(OSError, match="No space left") as caught:
        convert.convert(memory_source(images), tmp_path, name="toy")
    assert caught.value.filename == str(path)
    assert visible(tmp_path) == {}


@pytest.mark.parametrize("kills", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_run_again_gives_the_same_bytes(faces, tmp_path, kills):
    (faces / "person_1" / "bad.jpg").write_text("no image")
    command = [
        sys.executable,
        ROOT / "tests" / "data" / "conversion" / "kill_conversion.py",
        faces,
        tmp_path,
        str(kills),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    moments = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(moments) == kills and all(moment["killed"] and moment["same"] for moment in moments)
    assert sum(moment["kept"] > 0 for moment in moments) >= kills // 8, "too few kills had something to keep"
