"""Damaged records: no program crashes on one or accepts it, messages name it, and `skip_bad` drops only it."""

import json
import pathlib
import struct
import subprocess
import sys

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf

from tfface import export
from tfface.data import checked_records, pipeline, records
from tfface.data.conversion import convert
from tfface.data.curation import inspection
from tfface.data.order.shuffles import Buffer
from tfface.data.sources.records_source import RecordsSource
from tfface.jobs.thumbnails import read_thumbnails

IMAGES, SHARDS, BATCH = 24, 3, 6


def masked(data):
    """The checksum of the format, by its published definition."""
    value = google_crc32c.value(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) % 2**32)


def frame(data, length=None):
    """A record with valid checksums and any claimed length."""
    header = struct.pack("<Q", len(data) if length is None else length)
    return header + masked(header) + data + masked(data)


def split(path):
    """The data of the records of an undamaged file."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


def edited(data, **features):
    """A record with features set to values."""
    example = tf.train.Example.FromString(data)
    for name, value in features.items():
        example.features.feature[name].bytes_list.value[:] = [value]
    return example.SerializeToString()


def other_features(data):
    feature = {"pixels": tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2, 3]))}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def flipped(data):
    """A complete record with one bit of its data changed."""
    record = bytearray(frame(data))
    record[12 + len(data) // 2] ^= 16
    return bytes(record)


# How a record is damaged, the message, and the openers that notice it; training reads no keys.
DAMAGES = {
    "checksum": (flipped, "the data of a record do not match their checksum"),
    "features": (lambda data: frame(other_features(data)), "feature 'image' has 0 values"),
    "no example": (lambda data: frame(b"\xff\xff\xff"), "not a tf.train.Example"),
    "key": (lambda data: frame(edited(data, key=b"\xff\xfe/1.png")), "a name that is not UTF-8"),
    "image": (lambda data: frame(edited(data, image=b"garbage")), "not a JPEG or PNG image"),
    "cut image": (lambda data: frame(edited(data, image=image_of(data)[:-60])), "a damaged image"),
    "size of the image": (
        lambda data: frame(edited(data, image=tf.io.encode_png(np.zeros((30, 26, 3), np.uint8)).numpy())),
        "the image has 26 x 30 pixels, but dataset.json states 20 x 24 for all",
    ),
}


def image_of(data):
    return tf.train.Example.FromString(data).features.feature["image"].bytes_list.value[0]


def key_of(data):
    return tf.train.Example.FromString(data).features.feature["key"].bytes_list.value[0].decode()


@pytest.fixture
def dataset(tmp_path, memory_source, picture):
    """Dataset of 24 images of 4 identities in 3 shards."""
    images = {f"p{number % 4}/{number:02d}.png": picture(number) for number in range(IMAGES)}
    convert.convert(memory_source(images), tmp_path / "toy", num_shards=SHARDS)
    return tmp_path / "toy"


def shard(dataset, index=1):
    return dataset / f"toy-{index:05d}-of-{SHARDS:05d}.tfrecord"


def damage(dataset, how, number, index=1):
    """Replaces one record of a shard by a function of its data."""
    path = shard(dataset, index)
    path.write_bytes(b"".join(how(data) if n == number else frame(data) for n, data in enumerate(split(path))))


def place(dataset, number, index=1):
    """The position of a record as messages state it."""
    offset = sum(16 + len(data) for data in split(shard(dataset, index))[:number])
    return f"{shard(dataset, index)}: record {number} at byte {offset}"


class Mean:
    """An embedder without a network."""

    embedding_dim, image_size = 3, (24, 20)

    def __call__(self, images):
        return tf.reduce_mean(images, axis=[1, 2]).numpy()


def train(dataset):
    opened = checked_records.open_records(dataset)
    with checked_records.naming_bad_records(opened):
        for _ in pipeline.train_dataset(opened, BATCH, (24, 20)).take(IMAGES // BATCH):
            pass


def embed(dataset):
    opened = checked_records.open_records(dataset)
    with checked_records.naming_bad_records(opened):
        export.embed_dataset(Mean(), pipeline.eval_dataset(opened, BATCH, (24, 20)))


def thumbnails(dataset):
    read_thumbnails(dataset, [f"p{number % 4}/{number:02d}.png" for number in range(IMAGES)], side=28)


OPENERS = {"train": train, "embed": embed, "thumbnails": thumbnails}


# This runs in its own process, because TensorFlow would end this one.
OPENING = """
import sys
from tfface import export
from tfface.data import pipeline
from tfface.jobs.thumbnails import read_thumbnails

for path in sys.argv[1:]:
    for opener in (
        lambda: list(pipeline.train_dataset(path, 6, (24, 20)).take(4)),
        lambda: list(pipeline.eval_dataset(path, 6, (24, 20))),
        lambda: pipeline.steps_per_epoch(path, 6),
        lambda: read_thumbnails(path, ["p0/00.png"], side=28),
        lambda: export.load_embeddings(path),
    ):
        try:
            opener()
        except ValueError as error:
            print(error)
"""


def test_a_length_that_cannot_be_ends_no_process(dataset):
    whole, paths = shard(dataset).read_bytes(), []
    for number in (0, 4, 7):
        damage(dataset, lambda data: frame(data, 1 << 36), number)
        # The file has no dataset.json beside it that would state its number of records.
        paths.append(shard(dataset).rename(dataset.parent / f"{number}.tfrecord"))
        shard(dataset).write_bytes(whole)
    found = subprocess.run([sys.executable, "-c", OPENING, *paths], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-800:]
    lines = found.stdout.splitlines()
    assert len(lines) == 15
    for index, line in enumerate(lines):
        number = (0, 4, 7)[index // 5]
        assert str(paths[index // 5]) in line and f"record {number} at byte " in line
        assert f"a record of {1 << 36} bytes goes beyond the end of the file" in line


def test_lengths_are_checked_on_other_file_systems_too():
    with tf.io.TFRecordWriter("ram://good.tfrecord") as writer:
        for number in range(5):
            writer.write(b"x" * number)
    assert records.count_images(["ram://good.tfrecord"]) == [5]
    with tf.io.gfile.GFile("ram://bad.tfrecord", "wb") as file:
        file.write(frame(b"good") + frame(b"bad", 1 << 36))
    with pytest.raises(ValueError, match=r"ram://bad.tfrecord: record 1 at byte 20: .* beyond the end of the file"):
        records.count_images(["ram://bad.tfrecord"])


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("number", [0, 7])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_record_is_named(dataset, opener, number, kind):
    how, reason = DAMAGES[kind]
    key, there = key_of(split(shard(dataset))[number]), place(dataset, number)
    damage(dataset, how, number)
    if (opener, kind) in {("train", "key"), ("thumbnails", "key"), ("thumbnails", "size of the image")}:
        OPENERS[opener](dataset)  # These do not use the damaged part.
        return
    with pytest.raises(ValueError) as caught:
        OPENERS[opener](dataset)
    message = str(caught.value)
    assert message.startswith(there) and reason in message and "\n" not in message
    assert (f"(key {key!r})" in message) == ("image" in kind)


@pytest.mark.parametrize("kind", ["checksum", "features", "no example", "key"])
def test_inspection_names_a_damaged_record(dataset, kind):
    how, reason = DAMAGES[kind]
    damage(dataset, how, 3)
    summary = inspection.summarise(RecordsSource(dataset))
    ((where, found),) = summary.bad
    assert where.startswith(shard(dataset).name) and reason in found and summary.images == IMAGES - 1


def test_an_error_that_is_not_of_the_records_stays_as_it_is(dataset):
    damage(dataset, flipped, 3)
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="of the head"),
        checked_records.naming_bad_records(dataset),
    ):
        tf.debugging.assert_equal(1, 2, message="of the head")


@pytest.mark.parametrize("opener", [*OPENERS, "count"])
def test_a_wrong_number_of_images_is_not_believed(dataset, opener):
    described = json.loads((dataset / "dataset.json").read_text())
    described["shards"][1]["images"] += 10
    described["images"] += 10
    (dataset / "dataset.json").write_text(json.dumps(described))
    count = {"count": lambda dataset: pipeline.steps_per_epoch(dataset, BATCH)}
    there = f"{shard(dataset)} holds 8 records, but dataset.json says 18."
    with pytest.raises(ValueError, match=f"^{there}$"):
        {**OPENERS, **count}[opener](dataset)
    with pytest.raises(ValueError, match=f"^{there}$"):
        checked_records.open_records(dataset, skip_bad=True)


# -- skip_bad


@pytest.fixture
def damaged(dataset, tmp_path):
    """A dataset with bad records of all kinds and one truncated shard, and the same dataset without them."""
    kinds = [how for how, _ in DAMAGES.values()]
    bad = {0: {2: kinds[0], 5: kinds[4]}, 1: {}, 2: {0: kinds[1], 3: kinds[3], 4: kinds[5], 7: kinds[2]}}
    clean = tmp_path / "clean"
    clean.mkdir()
    for index, places in bad.items():
        kept = [frame(data) for number, data in enumerate(split(shard(dataset, index))) if number not in places]
        (clean / shard(dataset, index).name).write_bytes(b"".join(kept))
        for number, how in places.items():
            path = shard(dataset, index)
            whole = pathlib.Path(path).read_bytes()
            offset = sum(16 + len(data) for data in split(path)[:number])
            old = frame(split(path)[number])
            path.write_bytes(whole[:offset] + how(split(path)[number]) + whole[offset + len(old) :])
    described = json.loads((dataset / "dataset.json").read_text())
    for entry, places in zip(described["shards"], bad.values(), strict=True):
        entry["images"] -= len(places)
    described["images"] = IMAGES - 6
    (clean / "dataset.json").write_text(json.dumps(described))
    return dataset, clean


def batches(shards, count, **options):
    stream = pipeline.train_dataset(shards, BATCH, (24, 20), shuffle=Buffer(size=7), **options)
    return list(stream.take(count).as_numpy_iterator())


def assert_equal(left, right):
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["label"], other["label"])


def test_training_without_bad_records_is_that_on_the_good_ones(damaged, capsys):
    dataset, clean = damaged
    expected = batches(clean, 8)
    assert_equal(batches(dataset, 8, skip_bad=True), expected)
    assert "read 18 images, left out 6: " in capsys.readouterr().err
    opened = checked_records.open_records(dataset, skip_bad=True)
    assert pipeline.steps_per_epoch(opened, BATCH) == 3
    for start in (1, 3, 5):
        assert_equal(batches(opened, 8 - start, start_step=start), expected[start:])
    for workers in (2, 3):
        shares = [batches(opened, 5, num_workers=workers, worker_index=worker) for worker in range(workers)]
        joined = [
            {name: np.concatenate([share[step][name] for share in shares]) for name in ("image", "label")}
            for step in range(5)
        ]
        assert_equal(joined, expected[:5])


def test_embedding_without_bad_records_is_that_of_the_good_ones(damaged):
    dataset, clean = damaged
    opened = checked_records.open_records(dataset, skip_bad=True)
    found, expected = (export.embed_dataset(Mean(), pipeline.eval_dataset(one, 5, (24, 20))) for one in (opened, clean))
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert found.keys == expected.keys


def test_what_is_left_out_is_listed(damaged, tmp_path, capsys):
    dataset, clean = damaged
    opened = checked_records.open_records(dataset, skip_bad=True)
    assert [(record.shard, record.number) for record in opened.bad] == [
        *((str(shard(dataset, 0)), number) for number in (2, 5)),
        *((str(shard(dataset, 2)), number) for number in (0, 3, 4, 7)),
    ]
    assert capsys.readouterr().err.count("left out " + str(dataset)) == 5
    checked_records.write_skipped(tmp_path / "skipped.txt", opened)
    assert (tmp_path / "skipped.txt").read_text().splitlines() == list(map(str, opened.bad))
    # The list of an earlier attempt is removed.
    checked_records.write_skipped(tmp_path / "skipped.txt", checked_records.open_records(clean, skip_bad=True))
    assert not (tmp_path / "skipped.txt").exists()


def test_sound_shards_are_read_as_ever(dataset):
    opened = checked_records.open_records(dataset, skip_bad=True)
    expected = checked_records.open_records(dataset)
    assert opened == expected and opened.bad == ()
    np.testing.assert_array_equal(opened.random_access.places, expected.random_access.places)


@pytest.mark.parametrize("how", [lambda data: frame(data, 1 << 36), lambda data: b"\1" + frame(data)[1:]])
@pytest.mark.parametrize("number", [0, 4, 7])
def test_the_rest_of_a_shard_is_lost_behind_a_wrong_length(dataset, how, number):
    there, size = place(dataset, number), shard(dataset).stat().st_size
    keys = [key_of(data) for index in range(SHARDS) for data in split(shard(dataset, index))]
    damage(dataset, how, number)
    opened = checked_records.open_records(dataset, skip_bad=True)
    (lost,) = opened.bad
    num_bytes = size - int(there.split()[-1])
    assert str(lost).startswith(there)
    assert f"the {num_bytes} bytes from here to the end are lost, {8 - number} of the records that" in str(lost)
    assert opened.counts == (8, number, 8)
    found = [key.decode() for batch in pipeline.eval_dataset(opened, 5, (24, 20)) for key in batch["key"].numpy()]
    assert found == keys[: 8 + number] + keys[16:]
