"""The index of a dataset: what it holds, that it belongs to its shards, and that a wrong one changes no batch."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfface import data
from tfface.data import index_file
from tfface.data.conversion import convert
from tfface.data.formats import tfrecord_files
from tfface.data.identity_index import group_by_identity, index_dataset
from tfface.data.records import DATASET_FILE

IMAGES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory, people_in_turn):
    """Dataset of 40 images of 4 people in 3 shards."""
    return people_in_turn(tmp_path_factory.mktemp("indexed") / "toy", IMAGES, people=4, shards=3)


@pytest.fixture
def dataset(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "toy")


def arrays(dataset):
    with np.load(dataset / index_file.INDEX_FILE, allow_pickle=False) as found:
        return dict(found)


def stored(dataset):
    """Serialized records, as TensorFlow reads them."""
    return list(tf.data.TFRecordDataset(sorted(map(str, dataset.glob("*.tfrecord")))).as_numpy_iterator())


def test_a_conversion_writes_the_length_and_the_label_of_every_record(dataset):
    found, records = arrays(dataset), stored(dataset)
    assert found["lengths"].tolist() == list(map(len, records))
    assert found["labels"].tolist() == data.parse_example(records)["label"].numpy().tolist()
    assert found["sha256"].tolist() == [shard.sha256 for shard in data.DatasetInfo.load(dataset).shards]
    opened = data.open_records(dataset)
    assert opened.random_access.read(np.array([7, 39, 0, 8, 7])) == [records[n] for n in (7, 39, 0, 8, 7)]


def test_the_tool_writes_the_bytes_of_the_conversion(dataset):
    path = dataset / index_file.INDEX_FILE
    written = path.read_bytes()
    path.unlink()
    assert index_dataset(dataset) == IMAGES
    assert path.read_bytes() == written


def test_opening_reads_no_shard(dataset, monkeypatch):
    monkeypatch.setattr(tfrecord_files, "_open", lambda path, *_: pytest.fail(f"{path} was opened"))
    records = data.open_records(dataset)
    assert records.counts == (13, 13, 14)
    index = records.random_access
    assert index.places.nbytes + index.lengths.nbytes == 12 * IMAGES
    assert len(group_by_identity(records)[0]) == IMAGES
    with pytest.raises(pytest.fail.Exception):
        records.read_all()  # TensorFlow's reader would trust the lengths in the shards.


def set_array(name, change):
    def damage(dataset):
        found = arrays(dataset)
        found[name] = change(found[name])
        np.savez(dataset / index_file.INDEX_FILE, **{key: one for key, one in found.items() if one is not None})

    return damage


def raised(lengths, at=3):
    lengths = lengths.copy()
    lengths[at] += 1
    return lengths


def truncate(dataset):
    path = dataset / index_file.INDEX_FILE
    path.write_bytes(path.read_bytes()[:-40])


def grow(dataset):
    with open(dataset / index_file.INDEX_FILE, "ab") as file:
        file.write(bytes(1 << 20))


def relabel(dataset):
    """Other records of the same sizes, as a conversion by a release that knows no index leaves them."""
    path = dataset / DATASET_FILE
    content = json.loads(path.read_text())
    content["shards"][1]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))


def pickled(dataset):
    set_array("lengths", lambda lengths: lengths.astype(object))(dataset)


DAMAGES = {
    "truncated": (truncate, "not a zip archive"),
    "larger": (grow, "more than an index of 40 records has"),
    "no labels": (set_array("labels", lambda labels: None), "array labels is absent"),
    "too few": (set_array("lengths", lambda lengths: lengths[:-1]), r"array lengths is uint32 \[39\], expected uint32"),
    "signed": (set_array("lengths", np.int64), "array lengths is int64"),
    "pickled": (pickled, "expected booleans, numbers or strings, got object"),
    "a length": (set_array("lengths", raised), "toy-00000-of-00003.tfrecord has .* bytes, but these would have"),
    "a label": (set_array("labels", raised), "label 4 of 4 identities"),
    "other records": (relabel, "the checksum of toy-00001-of-00003.tfrecord is not that in dataset.json"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_wrong_index_is_named_and_not_used(dataset, made, capsys, kind):
    damage, reason = DAMAGES[kind]
    if kind == "a label":
        place = int(np.flatnonzero(arrays(dataset)["labels"] == 3)[0])
        damage = set_array("labels", lambda labels: raised(labels, place))
    damage(dataset)
    path = dataset / index_file.INDEX_FILE
    with pytest.raises(ValueError, match=f"^{path}: .*{reason}"):
        index_file.read_index(str(dataset))
    records = data.open_records(dataset)
    assert f"{path}: " in capsys.readouterr().err
    assert records.lengths_checked and records.random_access.read(np.arange(IMAGES)) == stored(made)
    np.testing.assert_array_equal(group_by_identity(records)[0], group_by_identity(data.open_records(made))[0])


def test_a_length_that_the_shard_does_not_have_is_named(dataset):
    def swapped(lengths):
        lengths = lengths.astype(np.uint32)
        lengths[3] -= 1
        lengths[4] += 1
        return lengths

    set_array("lengths", swapped)(dataset)
    offset = sum(len(one) + 16 for one in stored(dataset)[:3])
    records = data.open_records(dataset)
    message = f"toy-00000-of-00003.tfrecord: the record at byte {offset}: it has .* but the index of its dataset states"
    with pytest.raises(ValueError, match=message):
        records.random_access.read(np.arange(2, 6))


def test_a_damaged_shard_is_named_although_there_is_an_index(dataset):
    shard = sorted(dataset.glob("*.tfrecord"))[1]
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"{shard}: record 12 at byte .* goes beyond the end of the file"):
        data.open_records(dataset)


def test_datasets_are_joined_and_shards_are_selected(dataset, made):
    records = data.open_records([dataset, made])
    assert not records.lengths_checked and len(records.random_access) == 2 * IMAGES
    both = [*stored(min(dataset, made)), *stored(max(dataset, made))]
    assert records.random_access.read(np.arange(2 * IMAGES)) == both
    (dataset / index_file.INDEX_FILE).unlink()
    assert data.open_records([dataset, made]).lengths_checked


def test_a_converter_that_replaces_a_dataset_replaces_its_index(dataset, memory_source, picture):
    images = {f"q{number % 2}/{number:02d}.png": picture(number) for number in range(10)}
    convert.convert(memory_source(images), dataset, overwrite=True)
    assert arrays(dataset)["lengths"].tolist() == list(map(len, stored(dataset)))
