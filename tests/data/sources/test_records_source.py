"""Datasets as sources: they are written again unchanged, and changed or merged only on request."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tfface.data.conversion.convert import convert
from tfface.data.curation import cleaning
from tfface.data.records import DatasetInfo
from tfface.data.sources import combined_sources, records_source
from tfface.data.sources.base import Item


@pytest.fixture
def images(picture):
    """Key -> (image, landmarks or None): 4 identities with 2 to 5 images."""
    rng = np.random.default_rng(0)
    return {
        f"person_{person}/é{shot}.png": (
            picture(10 * person + shot),
            tuple(np.float32(rng.uniform(0, 20, 10)).tolist()) if shot % 2 else None,
        )
        for person in range(4)
        for shot in range(2 + person)
    }


@pytest.fixture
def dataset(tmp_path, memory_source, images):
    convert(memory_source(images), tmp_path / "toy", num_shards=3)
    return tmp_path / "toy"


def contents(source):
    """Key -> (identity, image, landmarks)."""
    return {item.key: (item.identity, source.read(item), item.landmarks) for item in source.items()}


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def damage(dataset, change):
    """Rewrites the first shard with its first record changed."""
    path = dataset / DatasetInfo.load(dataset).shards[0].file
    first, *rest = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in (change(first), *rest):
            writer.write(record)


def edit(record, change):
    example = tf.train.Example.FromString(record)
    change(example.features.feature)
    return example.SerializeToString()


def test_source_gives_what_was_written(dataset, images):
    expected = {key: (key.split("/")[0], *value) for key, value in images.items()}
    source = records_source.RecordsSource(dataset)
    assert contents(source) == expected and source.skipped == []
    assert contents(records_source.RecordsSource(str(dataset / "toy-*"))) == expected


@pytest.mark.parametrize("shards", [1, 3, 5])
def test_resharding_gives_the_bytes_of_a_first_conversion(dataset, images, memory_source, tmp_path, shards):
    convert(records_source.RecordsSource(dataset), tmp_path / "again", name="x", num_shards=shards)
    convert(memory_source(images), tmp_path / "direct", name="x", num_shards=shards)
    assert files(tmp_path / "again") == files(tmp_path / "direct")


def test_fingerprint_follows_the_bytes(dataset):
    def fingerprint():
        source = records_source.RecordsSource(dataset)
        list(source.items())
        return source.fingerprint

    before = fingerprint()
    assert before == fingerprint()
    damage(dataset, lambda record: record + b"\x00")
    assert fingerprint() != before


def remove(name):
    return lambda record: edit(record, lambda feature: feature.pop(name))


def put(name, kind, values):
    def change(feature):
        feature[name].Clear()
        getattr(feature[name], kind).value.extend(values)

    return lambda record: edit(record, change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: b"\xff" * 20, "not a tf.train.Example"),
        (lambda record: b"", "feature 'image' has 0 values of bytes"),
        (remove("image"), "feature 'image' has 0 values of bytes"),
        (remove("label"), "feature 'label' has 0 values of int64"),
        (remove("key"), "feature 'key' has 0 values"),
        (put("identity", "bytes_list", [b"a", b"b"]), "feature 'identity' has 2 values"),
        (put("identity", "int64_list", [1]), "feature 'identity' has 0 values of bytes"),
        (put("identity", "bytes_list", [b"\xff"]), "a name that is not UTF-8"),
        (put("landmarks", "float_list", [1.0] * 9), "feature 'landmarks' has 9 values of float"),
    ],
)
def test_records_of_another_schema_are_listed_with_place_and_reason(dataset, images, change, reason):
    damage(dataset, change)
    source = records_source.RecordsSource(dataset)
    assert len(contents(source)) == len(images) - 1
    assert source.skipped == [("toy-00000-of-00003.tfrecord:0", source.skipped[0][1])]
    assert reason in source.skipped[0][1]


def test_damaged_record_is_skipped_only_when_asked(dataset, images, tmp_path):
    path = dataset / "toy-00001-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"toy-00001-of-00003.tfrecord:0: the data of a record do not match"):
        convert(records_source.RecordsSource(dataset), tmp_path / "out")
    result = convert(records_source.RecordsSource(dataset), tmp_path / "out", skip_bad=True)
    assert len(result.skipped) == 1 and DatasetInfo.load(tmp_path / "out").images == len(images) - 1


def test_transformed_source_changes_the_index_and_reads_the_same_bytes(dataset, images):
    change = functools.partial(cleaning.drop_low_shot, min_images=4)
    source = combined_sources.Transformed(records_source.RecordsSource(dataset), change)
    assert contents(source) == {
        key: (key.split("/")[0], *value) for key, value in images.items() if key[:8] in ("person_2", "person_3")
    }
    assert source.fingerprint and source.location == str(dataset)


@pytest.mark.parametrize("same", [False, True])
def test_merging_keeps_every_image_and_tells_persons_apart_or_not(tmp_path, memory_source, images, picture, same):
    other = {"person_0/é0.png": picture(77), "newcomer/a.png": (picture(78), tuple(range(10)))}
    for name, content in (("one", images), ("two", other)):
        convert(memory_source(content), tmp_path / name)
    merged = combined_sources.merged_source([tmp_path / "one", tmp_path / "two"], same_persons=same)
    expected = {}
    for name, content in (("one", images), ("two", other)):
        for key, value in content.items():
            identity, file = key.split("/")
            data, landmarks = value if isinstance(value, tuple) else (value, None)
            if same:
                expected[f"{identity}/{name}_{file}"] = (identity, data, landmarks)
            else:
                expected[f"{name}_{identity}/{file}"] = (f"{name}_{identity}", data, landmarks)
    assert contents(merged) == expected and len(expected) == len(images) + 2
    info = convert(merged, tmp_path / "both").datasets[str(tmp_path / "both")]
    assert (info.images, info.identities) == (len(expected), 5 if same else 6)
    stored = contents(records_source.RecordsSource(tmp_path / "both"))
    assert stored == expected


def test_merging_names_the_dataset_of_a_bad_image(dataset, tmp_path):
    damage(dataset, lambda record: b"")
    merged = combined_sources.merged_source([dataset, dataset], ["a", "b"], same_persons=False)
    with pytest.raises(ValueError, match=r"a: toy-00000-of-00003.tfrecord:0: feature 'image' has 0 values"):
        convert(merged, tmp_path / "out")
    item = Item("k", "i", [1, "x/y.png", [2, 33]])
    assert merged.where(item) == "b: x/y.png at toy-00002-of-00003.tfrecord:33"


@pytest.mark.parametrize("prefixes", [None, ["a"], ["a", "a"], ["a", "b", "c"], ["a", "../b"], ["a", ""], ["a_b", "a"]])
def test_merging_needs_a_prefix_for_each(dataset, prefixes):
    with pytest.raises(ValueError, match="prefix .*got"):
        combined_sources.merged_source([dataset, dataset], prefixes, same_persons=True)


def test_open_source_tells_datasets_from_folders(dataset, faces, images):
    assert len(contents(records_source.open_source(dataset))) == len(images)
    assert len(contents(records_source.open_source(str(dataset / "*.tfrecord")))) == len(images)
    assert len(contents(records_source.open_source(faces))) == 30
    with pytest.raises(ValueError, match="no file matches"):
        records_source.open_source(dataset / "nothing")


def test_incomplete_dataset_is_refused(dataset):
    (dataset / "toy-00001-of-00003.tfrecord").unlink()
    with pytest.raises(ValueError, match="toy-00001-of-00003.tfrecord is missing"):
        records_source.RecordsSource(dataset)
