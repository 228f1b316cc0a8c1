"""The record schema, against a reader of its own; and the laws of writing: reproducible, complete or absent."""

import contextlib
import hashlib
import json
import random
import resource
import struct

import numpy as np
import pytest
import tensorflow as tf

from tfface.data import records, writer


def images_and_bytes(count, identities=3, seed=0):
    rng = np.random.default_rng(seed)
    content, images = {}, []
    for index in range(count):
        key = f"id{index % identities}/é{index:03d}.png"
        content[key] = rng.bytes(50 + index)
        landmarks = tuple(rng.uniform(0, 112, 10)) if index % 2 else None
        images.append(writer.SourceImage(key, key.split("/")[0], (24, 20), len(content[key]), landmarks))
    return images, content


def write(directory, images, content, name="toy", **options):
    return writer.write_dataset(directory, name, images, lambda image: content[image.key], **options)


def read(path):
    """Examples of a TFRecord file, by the published framing: length, its checksum, data, its checksum."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(tf.train.Example.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    return found


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@contextlib.contextmanager
def file_size_limit(limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # Python ignores SIGXFSZ, so writing gives an error.
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_hold_the_schema_and_the_bytes_of_the_source(tmp_path):
    images, content = images_and_bytes(11)
    info = write(tmp_path, images, content, num_shards=3)
    described = {image.key: image for image in images}
    examples = [example for shard in info.shards for example in read(tmp_path / shard.file)]
    assert len(examples) == 11
    for example in examples:
        feature = example.features.feature
        image = described.pop(feature["key"].bytes_list.value[0].decode())
        assert feature["image"].bytes_list.value[0] == content[image.key]
        assert feature["identity"].bytes_list.value[0].decode() == image.identity
        assert info.label_map[feature["label"].int64_list.value[0]] == image.identity
        expected = {"image", "label", "identity", "key"}
        if image.landmarks:
            expected.add("landmarks")
            np.testing.assert_array_equal(feature["landmarks"].float_list.value, np.float32(image.landmarks))
        assert set(feature) == expected
    assert not described


def test_description_agrees_with_the_files(tmp_path):
    images, content = images_and_bytes(11)
    info = write(tmp_path, images, content, num_shards=3)
    assert info == records.DatasetInfo.load(tmp_path) == records.DatasetInfo.load(tmp_path / "toy-*")
    described = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    assert described["schema_version"] == 1 and described["image_size"] == [24, 20] and described["landmarks"] == 5
    assert described["label_map"] == ["id0", "id1", "id2"]
    for shard in described["shards"]:
        assert shard["sha256"] == hashlib.sha256((tmp_path / shard["file"]).read_bytes()).hexdigest()
        assert shard["images"] == len(read(tmp_path / shard["file"])) in (3, 4)
    assert set(contents(tmp_path)) == {"dataset.json"} | {f"toy-{index:05d}-of-00003.tfrecord" for index in range(3)}


def test_records_are_ordered_by_the_hash_of_their_key(tmp_path):
    images, content = images_and_bytes(20)
    info = write(tmp_path, images, content, num_shards=4)
    keys = [
        example.features.feature["key"].bytes_list.value[0]
        for shard in info.shards
        for example in read(tmp_path / shard.file)
    ]
    assert keys == sorted(keys, key=lambda key: hashlib.sha256(key).hexdigest())


def test_same_images_give_same_bytes_for_any_order_and_number_of_workers(tmp_path):
    images, content = images_and_bytes(40)
    write(tmp_path / "one", images, content, num_shards=5, workers=1)
    random.Random(0).shuffle(images)
    write(tmp_path / "four", images, content, num_shards=5, workers=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


def test_default_is_one_small_shard_and_never_an_empty_one(tmp_path):
    images, content = images_and_bytes(3)
    assert len(write(tmp_path / "default", images, content).shards) == 1
    assert [shard.images for shard in write(tmp_path / "many", images, content, num_shards=9).shards] == [1, 1, 1]


def test_mixed_sizes_have_no_common_size(tmp_path):
    images, content = images_and_bytes(4)
    images[0] = writer.SourceImage("id0/other", "id0", (9, 9), 1)
    assert write(tmp_path, images, {**content, "id0/other": b"x"}).image_size is None


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda images: images + images[3:4], {}, "'id0/é003.png' occurs twice"),
        (lambda images: [], {}, "no images"),
        (list, {"num_shards": 0}, "`num_shards` must be .* got 0"),
        (list, {"name": "../toy"}, "`name` must be .* got '../toy'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, change, options, message):
    images, content = images_and_bytes(6)
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", change(images), content, **options)
    assert not (tmp_path / "out").exists()


def test_existing_dataset_is_kept_unless_overwritten(tmp_path):
    images, content = images_and_bytes(6)
    write(tmp_path, images, content, num_shards=3)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"dataset\.json exists already"):
        write(tmp_path, images[:4], content)
    assert contents(tmp_path) == before
    write(tmp_path, images[:4], content, num_shards=2, overwrite=True)
    assert records.DatasetInfo.load(tmp_path).images == 4
    assert len(contents(tmp_path)) == 3


def test_shards_without_description_are_not_overwritten_silently(tmp_path):
    images, content = images_and_bytes(6)
    write(tmp_path, images, content)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(ValueError, match=r"toy-00000-of-00001\.tfrecord exists already"):
        write(tmp_path, images, content)


@pytest.mark.parametrize("workers", [1, 3])
def test_failure_leaves_the_old_dataset_and_no_trace(tmp_path, workers):
    images, content = images_and_bytes(30)
    write(tmp_path, images, content, num_shards=3)
    before = contents(tmp_path)
    del content[images[17].key]
    with pytest.raises(KeyError):
        write(tmp_path, images, content, num_shards=6, workers=workers, overwrite=True)
    assert contents(tmp_path) == before


def test_file_that_cannot_grow_is_an_os_error_naming_it(tmp_path):
    images, content = images_and_bytes(30)
    content = {key: value * 100 for key, value in content.items()}
    with file_size_limit(50_000), pytest.raises(OSError, match=r"toy-0000\d-of-00002\.tfrecord: File too large"):
        write(tmp_path, images, content, num_shards=2)
    assert contents(tmp_path) == {}


def test_full_disk_is_an_os_error_naming_the_file(tmp_path):
    images, content = images_and_bytes(3)
    (tmp_path / "toy-00000-of-00001.tfrecord.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path, images, content)
    assert caught.value.filename == str(tmp_path / "toy-00000-of-00001.tfrecord")
    assert contents(tmp_path) == {}


def test_resolve_shards_accepts_directory_glob_and_list(tmp_path):
    images, content = images_and_bytes(12)
    write(tmp_path / "a", images, content, num_shards=3)
    write(tmp_path / "b", images, content, num_shards=2)
    a = [str(tmp_path / "a" / f"toy-{index:05d}-of-00003.tfrecord") for index in range(3)]
    b = [str(tmp_path / "b" / f"toy-{index:05d}-of-00002.tfrecord") for index in range(2)]
    assert records.resolve_shards(tmp_path / "a") == records.resolve_shards(str(tmp_path / "a" / "toy-*")) == a
    assert records.resolve_shards([tmp_path / "b", str(tmp_path / "a" / "*.tfrecord"), a[0]]) == a + b


def test_resolve_shards_names_what_is_missing(tmp_path):
    images, content = images_and_bytes(12)
    write(tmp_path, images, content, num_shards=3)
    (tmp_path / "toy-00001-of-00003.tfrecord").unlink()
    for pattern in (tmp_path, str(tmp_path / "toy-*"), str(tmp_path / "toy-00002-of-00003.tfrecord")):
        with pytest.raises(ValueError, match=r"toy-0000[01]-of-00003\.tfrecord is missing"):
            records.resolve_shards(pattern)
    with pytest.raises(ValueError, match=r"no file matches '.*/nothing-\*'"):
        records.resolve_shards(str(tmp_path / "nothing-*"))
    with pytest.raises(ValueError, match=r"got \[\]"):
        records.resolve_shards([])
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(ValueError, match=rf"{tmp_path} holds no dataset\.json"):
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
def test_damaged_description_is_refused_by_name(tmp_path, damage):
    images, content = images_and_bytes(6)
    write(tmp_path, images, content)
    path = tmp_path / "dataset.json"
    described = json.loads(path.read_text())
    damage(described)
    path.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=rf"{path} does not describe a dataset"):
        records.DatasetInfo.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema_version": 1}', "\xff"])
def test_other_json_is_refused_by_name(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"dataset\.json does not describe a dataset"):
        records.DatasetInfo.load(tmp_path)


def test_images_are_counted_with_and_without_description(tmp_path):
    images, content = images_and_bytes(11)
    write(tmp_path, images, content, num_shards=3)
    shards = records.resolve_shards(tmp_path)
    assert records.count_images(shards) == [3, 4, 4]
    (tmp_path / "dataset.json").unlink()
    assert records.count_images(shards) == [3, 4, 4]


def test_datasets_that_number_identities_differently_are_told_apart(tmp_path):
    images, content = images_and_bytes(12)
    for name, part in (("a", images), ("b", images[:6]), ("c", [one for one in images if one.identity != "id0"])):
        write(tmp_path / name, part, content)
    records.check_labels_agree(records.resolve_shards([tmp_path / "a", tmp_path / "b"]))
    with pytest.raises(ValueError, match=rf"{tmp_path}/a and {tmp_path}/c number identities differently"):
        records.check_labels_agree(records.resolve_shards([tmp_path / "a", tmp_path / "c"]))


def test_parse_example_reads_what_was_written(tmp_path):
    images, content = images_and_bytes(7)
    write(tmp_path, images, content)
    described = {image.key: image for image in images}
    dataset = tf.data.TFRecordDataset(records.resolve_shards(tmp_path)).map(records.parse_example)
    for record in dataset.as_numpy_iterator():
        image = described.pop(record["key"].decode())
        assert record["image"] == content[image.key] and record["identity"].decode() == image.identity
        expected = np.full((5, 2), np.nan) if image.landmarks is None else np.reshape(image.landmarks, (5, 2))
        np.testing.assert_array_equal(record["landmarks"], np.float32(expected))
    assert not described
