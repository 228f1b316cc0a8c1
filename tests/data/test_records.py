"""The record schema, against an independent reader; descriptions of datasets, and finding their shards."""

import hashlib
import json
import struct

import numpy as np
import pytest
import tensorflow as tf

from tfface.data import records
from tfface.data.conversion import convert


@pytest.fixture
def write(memory_source, picture):
    """Function that writes `count` images and returns the `DatasetInfo` and dict of key -> (image, landmarks)."""

    def write(directory, count, *, identities=3, **options):
        rng = np.random.default_rng(0)
        images = {
            f"id{index % identities}/é{index:03d}.png": (
                picture(index),
                tuple(rng.uniform(0, 112, 10)) if index % 2 else None,
            )
            for index in range(count)
        }
        result = convert.convert(memory_source(images), directory, **{"name": "toy", **options})
        return result.datasets[str(directory)], images

    return write


def read(path):
    """Examples of a TFRecord file, by the published framing: length, its checksum, data, its checksum."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(tf.train.Example.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    return found


def test_records_hold_the_schema_and_the_bytes_of_the_source(write, tmp_path):
    info, images = write(tmp_path, 11, num_shards=3)
    examples = [example for shard in info.shards for example in read(tmp_path / shard.file)]
    assert len(examples) == 11
    for example in examples:
        feature = example.features.feature
        key = feature["key"].bytes_list.value[0].decode()
        data, landmarks = images.pop(key)
        assert feature["image"].bytes_list.value[0] == data
        assert feature["identity"].bytes_list.value[0].decode() == key.split("/")[0]
        assert info.label_map[feature["label"].int64_list.value[0]] == key.split("/")[0]
        expected = {"image", "label", "identity", "key"}
        if landmarks:
            expected.add("landmarks")
            np.testing.assert_array_equal(feature["landmarks"].float_list.value, np.float32(landmarks))
        assert set(feature) == expected
    assert not images


def test_description_agrees_with_the_files(write, tmp_path):
    info, _ = write(tmp_path, 11, num_shards=3)
    assert info == records.DatasetInfo.load(tmp_path) == records.DatasetInfo.load(tmp_path / "toy-*")
    described = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    assert described["schema_version"] == 1 and described["image_size"] == [24, 20] and described["landmarks"] == 5
    assert described["label_map"] == ["id0", "id1", "id2"]
    for shard in described["shards"]:
        assert shard["sha256"] == hashlib.sha256((tmp_path / shard["file"]).read_bytes()).hexdigest()
        assert shard["images"] == len(read(tmp_path / shard["file"])) in (3, 4)
    assert {path.name for path in tmp_path.iterdir()} == {"dataset.json", "index.npz"} | {
        f"toy-{index:05d}-of-00003.tfrecord" for index in range(3)
    }


def test_records_are_ordered_by_the_hash_of_their_key(write, tmp_path):
    info, _ = write(tmp_path, 20, num_shards=4)
    keys = [
        example.features.feature["key"].bytes_list.value[0]
        for shard in info.shards
        for example in read(tmp_path / shard.file)
    ]
    assert keys == sorted(keys, key=lambda key: hashlib.sha256(key).hexdigest())


def test_resolve_shards_accepts_directory_glob_and_list(write, tmp_path):
    write(tmp_path / "a", 12, num_shards=3)
    write(tmp_path / "b", 12, num_shards=2)
    a = [str(tmp_path / "a" / f"toy-{index:05d}-of-00003.tfrecord") for index in range(3)]
    b = [str(tmp_path / "b" / f"toy-{index:05d}-of-00002.tfrecord") for index in range(2)]
    assert records.resolve_shards(tmp_path / "a") == records.resolve_shards(str(tmp_path / "a" / "toy-*")) == a
    assert records.resolve_shards([tmp_path / "b", str(tmp_path / "a" / "*.tfrecord"), a[0]]) == a + b


def test_resolve_shards_names_what_is_missing(write, tmp_path):
    write(tmp_path, 12, num_shards=3)
    (tmp_path / "toy-00001-of-00003.tfrecord").unlink()
    for pattern in (tmp_path, str(tmp_path / "toy-*"), str(tmp_path / "toy-00002-of-00003.tfrecord")):
        with pytest.raises(ValueError, match=r"toy-0000[01]-of-00003\.tfrecord is missing"):
            records.resolve_shards(pattern)
    with pytest.raises(ValueError, match=r"no file matches '.*/nothing-\*'"):
        records.resolve_shards(str(tmp_path / "nothing-*"))
    with pytest.raises(ValueError, match=r"got \[\]"):
        records.resolve_shards([])
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(ValueError, match=rf"{tmp_path} holds no dataset\.json.*from-folder --input={tmp_path}"):
        records.resolve_shards(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.update(schema_version=2),
        lambda content: content.pop("schema_version"),
        lambda content: content.pop("images"),
        lambda content: content.update(images=7),
        lambda content: content.update(identities=2),
        lambda content: content.update(label_map=["id0", "id0", "id1"]),
        lambda content: content.update(label_map=3),
        lambda content: content.update(shards={}),
        lambda content: content["shards"][0].update(file="../toy-00000-of-00001.tfrecord"),
        lambda content: content["shards"][0].update(images="6"),
        lambda content: content.update(more=1),
    ],
)
def test_damaged_description_is_refused_by_name(write, tmp_path, damage):
    write(tmp_path, 6)
    path = tmp_path / "dataset.json"
    described = json.loads(path.read_text())
    damage(described)
    path.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=rf"{path}( does not describe a dataset)?: .*(expected|shard|but)"):
        records.DatasetInfo.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema_version": 1}', "\xff"])
def test_other_json_is_refused_by_name(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"dataset\.json: (not JSON|expected an object)"):
        records.DatasetInfo.load(tmp_path)


def test_images_are_counted_with_and_without_description(write, tmp_path):
    write(tmp_path, 11, num_shards=3)
    shards = records.resolve_shards(tmp_path)
    assert records.count_images(shards) == [3, 4, 4]
    (tmp_path / "dataset.json").unlink()
    assert records.count_images(shards) == [3, 4, 4]


def test_datasets_that_number_identities_differently_are_told_apart(write, tmp_path):
    for name, count, identities in (("a", 12, 3), ("b", 6, 3), ("c", 12, 2)):
        write(tmp_path / name, count, identities=identities)
    shared = records.common_labels(records.resolve_shards([tmp_path / "a", tmp_path / "b"]))
    assert shared == (str(tmp_path / "a"), records.DatasetInfo.load(tmp_path / "b").label_map)
    with pytest.raises(ValueError, match=rf"{tmp_path}/a and {tmp_path}/c have different label maps"):
        records.common_labels(records.resolve_shards([tmp_path / "a", tmp_path / "c"]))


def test_parse_example_reads_what_was_written(write, tmp_path):
    _, images = write(tmp_path, 7)
    dataset = tf.data.TFRecordDataset(records.resolve_shards(tmp_path)).map(records.parse_example)
    for record in dataset.as_numpy_iterator():
        key = record["key"].decode()
        data, landmarks = images.pop(key)
        assert record["image"] == data and record["identity"].decode() == key.split("/")[0]
        expected = np.full((5, 2), np.nan) if landmarks is None else np.reshape(landmarks, (5, 2))
        np.testing.assert_array_equal(record["landmarks"], np.float32(expected))
    assert not images


@pytest.mark.parametrize(
    "name, start, program",
    [
        ("a.csv", b"path,label", "from-list"),
        ("a.LST", b"0\t0\ta.jpg", "from-list"),
        ("a.zip", b"PK\x03\x04", "from-zip"),
        ("lfw.bin", b"\x80\x04", "from-bin"),
        ("train.rec", b"\x0a\x23\xd7\xce", "from-recordio"),
    ],
)
def test_files_of_other_kinds_are_refused_with_the_program_that_converts_them(tmp_path, name, start, program):
    path = tmp_path / name
    path.write_bytes(start + bytes(40))
    with pytest.raises(ValueError, match=f"{name} is not a TFRecord file.*tfface records {program} --input={path} "):
        records.resolve_shards(str(path))
    path.write_bytes(bytes(40))
    if start[:1] in b"\x80\x0a":  # A TFRecord file may have this extension.
        assert records.resolve_shards(str(path)) == [str(path)]
