"""TFRecords of other programs: their own fields and compressions are read, and forged ones are bounded."""

import gzip
import zlib

import pytest
import tensorflow as tf

from tfface.data.conversion.convert import convert
from tfface.data.sources.records_source import RecordsSource
from tfface.data.sources.tfrecord_source import TFRecordSource


def feature(value):
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write(path, rows, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            features = tf.train.Features(feature={name: feature(value) for name, value in row.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


@pytest.fixture
def rows(picture):
    return [
        {"picture": picture(number), "who": b"ann\xc3\xa9" if number < 4 else b"boris", "file": b"%d.png" % number}
        for number in range(8)
    ]


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_fields_of_any_name_are_read(tmp_path, rows, compression):
    write(tmp_path / "theirs-00001", rows, compression)
    source = TFRecordSource(tmp_path / "theirs-*", "picture", "who", "file")
    convert(source, tmp_path / "ours")
    ours = RecordsSource(tmp_path / "ours")
    found = {item.key: (item.identity, ours.read(item)) for item in ours.items()}
    names = {row["who"].decode() + "/" + row["file"].decode(): row for row in rows}
    assert found == {key: (row["who"].decode(), row["picture"]) for key, row in names.items()}


def test_image_and_number_are_enough(tmp_path, picture):
    write(tmp_path / "a", [{"image": picture(number), "label": number % 2} for number in range(4)])
    write(tmp_path / "b", [{"image": picture(number, format="JPEG"), "label": 7} for number in range(2)], "GZIP")
    items = list(TFRecordSource([tmp_path / "a", tmp_path / "b"]).items())
    assert [item.key for item in items][:2] == ["00000000/00000000.png", "00000001/00000001.png"]
    assert [item.key for item in items][4:] == ["00000007/00000004.jpg", "00000007/00000005.jpg"]


def test_whole_numbers_of_any_size_and_type_name_identities(tmp_path, picture):
    labels = [3, 3.0, 1 << 40, 0.5, -1]
    write(tmp_path / "a", [{"image": picture(number), "label": label} for number, label in enumerate(labels)])
    source = TFRecordSource(tmp_path / "a")
    assert [item.identity for item in source.items()] == ["00000003", "00000003", "1099511627776"]
    assert all("expected a whole number from 0" in reason for _, reason in source.skipped) and len(source.skipped) == 2


def test_a_wrong_field_is_answered_with_the_fields_that_are_there(tmp_path, rows):
    write(tmp_path / "a", rows)
    message = r"no field 'img' for the image; the first record of .*a has 'file' \(bytes\), 'picture' \(bytes\), 'who'"
    with pytest.raises(ValueError, match=message):
        list(TFRecordSource(tmp_path / "a", "img", "who").items())


def test_single_bad_records_are_listed(tmp_path, rows):
    bad = [{"picture": b"x", "who": -1}, {"picture": b"x"}, {"picture": b"x", "who": b"../../etc"}]
    write(tmp_path / "a", [rows[0], *bad, rows[1]])
    source = TFRecordSource(tmp_path / "a", "picture", "who")
    assert len(list(source.items())) == 2
    assert [place.split(":")[0] for place, _ in source.skipped] == ["a"] * 3


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_files_are_bounded_and_complete(tmp_path, rows, pack):
    write(tmp_path / "plain", rows)
    packed = pack((tmp_path / "plain").read_bytes())
    (tmp_path / "cut").write_bytes(packed[:-20])
    with pytest.raises(ValueError, match="cut: cannot be unpacked"):
        list(TFRecordSource(tmp_path / "cut", "picture", "who").items())
    (tmp_path / "bomb").write_bytes(pack(bytes(64 << 20)))
    with pytest.raises(ValueError, match="bomb: cannot be unpacked: more than 100 times its size"):
        list(TFRecordSource(tmp_path / "bomb", "picture", "who").items())
