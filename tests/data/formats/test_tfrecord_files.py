"""Framing of TFRecords: files by TensorFlow are read back, and no damaged byte passes for data."""

import os
import random
import struct

import pytest
import tensorflow as tf

from tfface.data.formats import tfrecord_files


@pytest.fixture
def written(tmp_path):
    """A file by TensorFlow's writer, and its records by offset."""
    rng = random.Random(0)
    contents = [rng.randbytes(rng.choice([0, 1, 7, 30])) for _ in range(8)]
    path = tmp_path / "some.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    offsets = [sum(len(content) + 16 for content in contents[:index]) for index in range(8)]
    return path, dict(zip(offsets, contents, strict=True))


def test_reads_what_tensorflow_wrote_in_order_and_at_random(written):
    path, expected = written
    assert dict(tfrecord_files.scan_records(path)) == expected
    for offset in reversed(expected):
        assert tfrecord_files.read_record(path, offset) == expected[offset]


def test_any_flipped_bit_costs_its_own_record_and_at_most_those_behind(written):
    path, expected = written
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        found = list(tfrecord_files.scan_records(path))
        hit = max(offset for offset in expected if offset <= place)
        good = {offset: data for offset, data in found if isinstance(data, bytes)}
        bad = [offset for offset, data in found if isinstance(data, ValueError)]
        assert bad == [hit]
        lost_rest = place - hit < 12  # The length and its checksum tell where the next record starts.
        assert good == {o: d for o, d in expected.items() if o < hit or (o > hit and not lost_rest)}
        with pytest.raises(ValueError, match="checksum|beyond the end"):
            tfrecord_files.read_record(path, hit)


def test_any_cut_file_keeps_its_whole_records(written):
    path, expected = written
    whole = path.read_bytes()
    ends = {offset + len(data) + 16 for offset, data in expected.items()}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = list(tfrecord_files.scan_records(path))
        good = {offset: data for offset, data in found if isinstance(data, bytes)}
        assert good == {o: d for o, d in expected.items() if o + len(d) + 16 <= length}
        assert len(found) - len(good) == (length not in ends | {0})


def test_forged_length_with_a_good_checksum_asks_for_no_memory(tmp_path):
    for length in (1 << 62, (1 << 64) - 1, 1 << 40, 5):
        header = struct.pack("<Q", length)
        checksum = tfrecord_files._masked_checksum(header)
        path = tmp_path / "forged"
        path.write_bytes(header + struct.pack("<I", checksum) + b"abcd" + b"1234")
        ((offset, error),) = tfrecord_files.scan_records(path)
        assert offset == 0 and f"a record of {length} bytes goes beyond the end" in str(error)


def test_sparse_file_cannot_make_a_huge_record_good(tmp_path):
    header, path = struct.pack("<Q", 1 << 40), tmp_path / "sparse"
    path.write_bytes(header + struct.pack("<I", tfrecord_files._masked_checksum(header)))
    os.truncate(path, 1 << 41)
    ((_, error),) = tfrecord_files.scan_records(path)
    assert "is longer than 512 MB" in str(error)


def test_noise_is_refused(tmp_path):
    path = tmp_path / "noise"
    for seed in range(50):
        path.write_bytes(random.Random(seed).randbytes(200))
        ((_, error),) = tfrecord_files.scan_records(path)
        assert "the 200 bytes from here to the end are lost" in str(error)
