"""Every reader takes the same flags: identities held out, bad images left out, Beam."""

import gzip
import hashlib
import importlib.util
import io
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from beam_runs import options, processes
from PIL import Image
from test_cleaning_programs import CONVERTERS, ROOT, run

from tfface.data.conversion.beam import shard_writer
from tfface.data.conversion.convert import convert
from tfface.data.protocols.pairs import read_pairs_table
from tfface.data.records import DatasetInfo
from tfface.data.sources import folders, image_lists, insightface_bin, recordio_source, tfrecord_source, zip_folders
from tfface.data.sources.combined_sources import Chained
from tfface.data.sources.records_source import RecordsSource

PEOPLE, SHOTS = 6, 4
SOURCES = {
    "from_bin": insightface_bin.BinSource,
    "from_folder": folders.FolderSource,
    "from_list": image_lists.ListSource,
    "from_recordio": recordio_source.RecordIOSource,
    "from_tfrecord": tfrecord_source.TFRecordSource,
    "from_zip": zip_folders.ZipSource,
}


def encoded(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """dict from reader to (its input, dict from identity to the sorted images of it)."""
    folder = tmp_path_factory.mktemp("inputs")
    people = {f"person_{who}": [encoded(10 * who + shot) for shot in range(SHOTS)] for who in range(PEOPLE)}
    files = {f"{who}/{shot}.png": data for who, shots in people.items() for shot, data in enumerate(shots)}
    for name, data in files.items():
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    rows = "".join(f"photos/{name},{name.split('/')[0]}\n" for name in files)
    (folder / "list.csv").write_text(f"path,label\n{rows}")
    pack = b""
    for number, data in enumerate(files.values()):
        record = struct.pack("<IfQQ", 0, number // SHOTS, number, 0) + data
        pack += struct.pack("<II", 0xCED7230A, len(record)) + record + b"\0" * (-len(record) % 4)
    (folder / "train.rec").write_bytes(pack)
    # Ten genuine pairs of a .bin, whose identities are images 0, 2, ..., and ten impostor pairs.
    images = [encoded(100 + number) for number in range(40)]
    (folder / "lfw.bin").write_bytes(pickle.dumps((images, [True] * 10 + [False] * 10)))
    of_bin = {f"{first:06d}": sorted(images[first : first + 2]) for first in range(0, 20, 2)}
    of_bin |= {f"{number:06d}": [images[number]] for number in range(20, 40)}
    named = {who: sorted(shots) for who, shots in people.items()}
    with tf.io.TFRecordWriter(str(folder / "theirs.tfrecord")) as writer:
        for name, data in files.items():
            features = {"image": data, "label": name.split("/")[0].encode()}
            lists = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[it])) for key, it in features.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString())
    return {
        "from_folder": (folder / "photos", named),
        "from_zip": (folder / "photos.zip", named),
        "from_list": (folder / "list.csv", named),
        "from_recordio": (folder / "train.rec", {f"{int(who[-1]):08d}": shots for who, shots in named.items()}),
        "from_bin": (folder / "lfw.bin", of_bin),
        "from_tfrecord": (folder / "theirs.tfrecord", named),
    }


def held_out(names, order, seed, count=2):
    """The held-out identities by the formula that docs/data.md states."""
    if order == "last":
        return sorted(names)[-count:]
    return sorted(sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())[:count])


def content(directory):
    """dict from identity to the sorted images of it in a dataset."""
    source, found = RecordsSource(directory), {}
    for item in source.items():
        found.setdefault(item.identity, []).append(source.read(item))
    return {who: sorted(shots) for who, shots in found.items()}


def test_every_reader_is_among_these():
    assert set(SOURCES) == set(CONVERTERS)


def test_every_reader_holds_out_identities(inputs, tmp_path):
    orders = {"hash": 7, "last": 0}
    jobs = {
        (reader, order): [
            *(reader, f"--input={inputs[reader][0]}", f"--output={tmp_path}/{reader}_{order}", "--workers=1"),
            *("--holdout_identities=2", f"--holdout_from={order}", f"--holdout_seed={seed}"),
        ]
        for reader in SOURCES
        for order, seed in orders.items()
    }
    for (reader, order), (status, output, errors) in zip(jobs, run(jobs.values()), strict=True):
        assert status == 0, errors
        everyone, place = inputs[reader][1], tmp_path / f"{reader}_{order}"
        expected = held_out(everyone, order, orders[order])
        assert expected != held_out(everyone, {"hash": "last", "last": "hash"}[order], 7)
        assert content(place / "heldout") == {who: everyone[who] for who in expected}
        assert content(place / "train") == {who: everyone[who] for who in everyone if who not in expected}
        assert f"next: tfface train --train_data={place}/train --heldout_data={place}/heldout" in output


@pytest.mark.parametrize("reader", SOURCES)
def test_every_reader_holds_out_images(inputs, tmp_path, reader):
    path, everyone = inputs[reader]
    convert(SOURCES[reader](path), tmp_path, holdout_identities=2, holdout_images=2, workers=1)
    train, validation, heldout = (content(tmp_path / side) for side in ("train", "validation", "heldout"))
    strangers = held_out(everyone, "hash", 0)
    assert heldout == {who: everyone[who] for who in strangers}
    for who in set(everyone) - set(strangers):
        assert sorted(train[who] + validation.get(who, [])) == everyone[who]
        assert len(validation.get(who, [])) == min(2, len(everyone[who]) - 1)
    maps = [DatasetInfo.load(tmp_path / side).label_map for side in ("train", "validation")]
    assert maps[0] == maps[1] == tuple(sorted(train))


def test_pairs_of_a_bin_follow_its_identities(inputs, tmp_path):
    path, everyone = inputs["from_bin"]
    ((status, output, errors),) = run(
        [["from_bin", f"--input={path}", f"--output={tmp_path}/lfw", "--holdout_identities=15"]]
    )
    assert status == 0, errors
    held = held_out(everyone, "hash", 0, 15)
    for side in ("train", "heldout"):
        # Images 2n and 2n + 1 are a pair: of one identity if n < 10, of two otherwise.
        names = [(f"{2 * n:06d}", f"{2 * n + (n >= 10):06d}") for n in range(20)]
        kept = [n for n in range(20) if all((name in held) == (side == "heldout") for name in names[n])]
        pairs = read_pairs_table(tmp_path / "lfw" / side / "pairs.csv")
        assert 0 < len(kept) < 20 and [int(key[:6]) for key in pairs.left] == [2 * n for n in kept]
        assert pairs.same.tolist() == [n < 10 for n in kept]
        left_out = f"; {20 - len(kept)} left out: an image is not in the dataset"
        assert f"{side}/pairs.csv: {len(kept)} pairs{left_out}\n" in output


@pytest.mark.parametrize("reader", SOURCES)
def test_a_source_reads_the_same_on_another_machine(inputs, reader):
    source = SOURCES[reader](inputs[reader][0])
    items = list(source.items())
    sent = pickle.loads(pickle.dumps(source))
    assert len(items) >= PEOPLE * SHOTS and [sent.read(item) for item in items] == [source.read(item) for item in items]


@pytest.mark.slow  # test_beam_flag.py has it for two programs.
def test_beam_that_is_not_installed_is_one_sentence(inputs, tmp_path):
    if importlib.util.find_spec("apache_beam"):
        pytest.skip("Apache Beam is installed")
    jobs = [
        [reader, f"--input={inputs[reader][0]}", f"--output={tmp_path}/{reader}", "--beam=--runner=DirectRunner"]
        for reader in SOURCES
    ]
    for status, _, errors in run(jobs):
        assert (status, errors) == (1, "Error: --beam needs Apache Beam: install `tfface[beam]`.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reader", SOURCES)
def test_beam_writes_the_bytes_of_threads_for_every_reader(inputs, tmp_path, reader):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra `beam`)")
    for name, more in (("threads", []), ("beam", ["--beam=--runner=DirectRunner"])):
        command = [sys.executable, "-m", "tfface", "records", reader, f"--input={inputs[reader][0]}", "--name=toy"]
        command += [f"--output={tmp_path / name}", "--holdout_identities=2", *more]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.tfrecord")}
        for name in ("threads", "beam")
    ]
    assert files[0] == files[1] and len(files[0]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_processes_of_beam_write_the_bytes_of_threads_for_every_source(inputs, tmp_path, monkeypatch, count):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra `beam`)")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))  # Of the processes, which unpack what is compressed.
    (tmp_path / "temporary").mkdir()
    packed = tmp_path / "theirs.tfrecord.gz"
    packed.write_bytes(gzip.compress(pathlib.Path(inputs["from_tfrecord"][0]).read_bytes()))

    readers = {reader: SOURCES[reader](inputs[reader][0]) for reader in SOURCES}
    readers["packed"] = tfrecord_source.TFRecordSource(packed)
    convert(readers["from_zip"], tmp_path / "records")
    readers["records"] = RecordsSource(tmp_path / "records")
    source = Chained(readers, same_persons=False)
    arguments = {"name": "toy", "num_shards": 9, "holdout_identities": 5}
    convert(source, tmp_path / "threads", **arguments)
    convert(source, tmp_path / "beam", write=shard_writer(options(*processes(count))), **arguments)
    assert contents(tmp_path / "beam") == contents(tmp_path / "threads")
    assert not list((tmp_path / "temporary").iterdir())


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
