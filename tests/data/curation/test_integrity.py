"""Verification of datasets: a sound one has no problems, and every kind of damage is found and located."""

import hashlib
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data.conversion.convert import convert
from tfface.data.curation import integrity
from tfface.data.synthetic.rendering import render_face


@pytest.fixture
def dataset(tmp_path, memory_source, picture):
    images = {f"p{person}/{shot}.png": picture(10 * person + shot) for person in range(4) for shot in range(5)}
    convert(memory_source(images), tmp_path / "toy", num_shards=3)
    return tmp_path / "toy"


def rewrite(dataset, change, digest=True):
    """Rewrites the first shard with a changed list of records; optionally updates the description."""
    description = json.loads((dataset / "dataset.json").read_text())
    path = dataset / description["shards"][0]["file"]
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in change(records):
            writer.write(record)
    if digest:
        description["shards"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (dataset / "dataset.json").write_text(json.dumps(description))


def edit(**values):
    """Change of the first record: features set to values."""

    def change(records):
        example = tf.train.Example.FromString(records[0])
        for name, value in values.items():
            kind = "int64_list" if isinstance(value, int) else "bytes_list"
            getattr(example.features.feature[name], kind).value[:] = [value]
        return [example.SerializeToString(), *records[1:]]

    return change


def test_whole_dataset_has_no_problems(dataset):
    found = integrity.verify_dataset(dataset, workers=2)
    assert found.problems == [] and found.images == 20 and found.duplicates == []


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        (edit(label=3), ":0", "label 3 is not that of"),
        (edit(label=77), ":0", "label 77 is not that of"),
        (edit(label=-1), ":0", "label -1 is not that of"),
        (edit(identity=b"p9"), ":0", "not that of 'p9' in the label map"),
        (edit(image=b"no image"), ":0", "not a JPEG or PNG image"),
        (lambda records: [b"\xff", *records[1:]], ":0", "not a tf.train.Example"),
        (lambda records: records[:1] * len(records), ":", "also occurs at toy-00000-of-00003.tfrecord:0"),
        (lambda records: records[1:], "", "5 records, but dataset.json says 6"),
    ],
)
def test_wrong_records_are_found_although_checksums_are_right(dataset, change, place, reason):
    if reason.startswith("label 3"):  # The label of another identity.
        first = next(iter(tf.data.TFRecordDataset(str(dataset / "toy-00000-of-00003.tfrecord")).as_numpy_iterator()))
        label = tf.train.Example.FromString(first).features.feature["label"].int64_list.value[0]
        change, reason = edit(label=(label + 1) % 4), f"label {(label + 1) % 4} is not that of"
    rewrite(dataset, change)
    problems = integrity.verify_dataset(dataset).problems
    assert problems[0][0].startswith("toy-00000-of-00003.tfrecord" + place) and reason in problems[0][1]


def test_changed_file_is_found_by_its_digest(dataset):
    rewrite(dataset, lambda records: records[::-1], digest=False)
    assert integrity.verify_dataset(dataset).problems == [
        ("toy-00000-of-00003.tfrecord", "the SHA-256 differs from that in dataset.json")
    ]


def test_flipped_bit_is_found_by_digest_and_checksum(dataset):
    path = dataset / "toy-00001-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    found = integrity.verify_dataset(dataset)
    assert [place for place, _ in found.problems] == [path.name, f"{path.name}:0"] and found.images == 19


def test_missing_shard_is_found_and_the_others_are_read(dataset):
    (dataset / "toy-00002-of-00003.tfrecord").unlink()
    found = integrity.verify_dataset(dataset)
    assert found.problems == [("toy-00002-of-00003.tfrecord", "missing")] and found.images == 13


@pytest.mark.parametrize(("name", "value"), [("image_size", [9, 9]), ("image_size", None), ("landmarks", 3)])
def test_wrong_description_is_found(dataset, name, value):
    description = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps({**description, name: value}))
    ((place, reason),) = integrity.verify_dataset(dataset).problems
    assert place == "dataset.json" and reason.startswith(f"{name} is ")


@pytest.mark.parametrize(
    "name, reason", [("labels", "record 0 has label 2, 'p2', but shows 'p"), ("lengths", "it belongs to other records")]
)
def test_wrong_index_is_found(dataset, name, reason):
    with np.load(dataset / "index.npz") as index:
        arrays = dict(index)
    if name == "labels":
        arrays["labels"][:] = 2
    else:
        arrays["lengths"][0] += 1
    np.savez(dataset / "index.npz", **arrays)
    ((place, found),) = integrity.verify_dataset(dataset).problems
    assert place == "index.npz" and found.startswith(reason)


def test_no_dataset_is_an_error(dataset):
    shutil.rmtree(dataset)
    with pytest.raises(ValueError, match="holds no dataset.json"):
        integrity.verify_dataset(dataset)


def test_pictures_twice_are_grouped_and_reported(tmp_path, memory_source):
    def face(person, shot, **save):
        buffer = io.BytesIO()
        Image.fromarray(render_face(0, person, shot)[0]).save(buffer, **save)
        return buffer.getvalue()

    images = {f"p{person}/{shot}.png": face(person, shot, format="PNG") for person in range(4) for shot in range(5)}
    images["p3/again.png"] = images["p0/2.png"]
    images["p1/copy.jpg"] = face(1, 1, format="JPEG", quality=80)
    convert(memory_source(images), tmp_path / "toy")
    found = integrity.verify_dataset(tmp_path / "toy")
    groups = {
        frozenset(found.hashes.keys[position] for position in group): (found.is_exact(group), found.identities(group))
        for group in found.duplicates
    }
    assert groups == {
        frozenset({"p0/2.png", "p3/again.png"}): (True, ["p0", "p3"]),
        frozenset({"p1/1.png", "p1/copy.jpg"}): (False, ["p1"]),
    }
    assert found.problems == []
    integrity.write_report(tmp_path / "report.csv", found)
    table = pd.read_csv(tmp_path / "report.csv", keep_default_na=False)
    assert sorted(zip(table["kind"], table["place"], table["reason"], strict=True)) == [
        ("same file", "p0/2.png", "2 identities"),
        ("same file", "p3/again.png", "2 identities"),
        ("same picture", "p1/1.png", ""),
        ("same picture", "p1/copy.jpg", ""),
    ]
    assert table["group"].nunique() == 2
