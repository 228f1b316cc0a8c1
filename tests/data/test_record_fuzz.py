"""Hostile records: any change in the files of a dataset is read, or ends in a ValueError that names the file.

Each input is derived from a seed, which a failure names. A forged length with a valid checksum could end this process.
"""

import struct

import google_crc32c
import numpy as np
import pytest

from tfface import export
from tfface.data import checked_records, pipeline
from tfface.data.conversion import convert

LENGTHS = (0, 1, 7, 2**20, 2**29 + 1, 2**31, 2**36, 2**63, 2**64 - 17, 2**64 - 1)


def masked(data):
    value = google_crc32c.value(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) % 2**32)


def frames(data):
    """(offset, length) of the records of an undamaged file."""
    found, offset = [], 0
    while offset < len(data):
        (length,) = struct.unpack_from("<Q", data, offset)
        found.append((offset, length))
        offset += 16 + length
    return found


def mutate(whole, rng):
    """Returns the bytes of a file with one or two random changes; half of them get valid checksums again."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 3)):
        offset, length = frames(whole)[rng.integers(len(frames(whole)))]
        at = int(rng.integers(len(data) + 1))
        match rng.integers(6):
            case 0 if at < len(data):
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at:]
            case 2:
                start = int(rng.integers(len(whole)))
                data[at:at] = whole[start : start + int(rng.integers(1, 400))]
            case 3:  # A forged length.
                header = struct.pack("<Q", LENGTHS[rng.integers(len(LENGTHS))])
                data[offset : offset + 12] = header + masked(header)
            case 4:  # Changed data, the checksum too.
                body = bytearray(whole[offset + 12 : offset + 12 + length])
                body[rng.integers(length)] = int(rng.integers(256))
                data[offset + 12 : offset + 16 + length] = body + masked(bytes(body))
            case 5:
                del data[at : at + int(rng.integers(1, 200))]
    return bytes(data)


def names_its_file(path, read):
    """Returns whether reading a file raises ValueError; the message must name the file."""
    try:
        read()
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    return False


def read_records(path):
    opened = checked_records.open_records(path)
    with checked_records.naming_bad_records(opened):
        for batch in pipeline.eval_dataset(opened, 4, (24, 20)):
            [key.decode() for key in batch["key"].numpy()]


def train(path):
    opened = checked_records.open_records(path)
    with checked_records.naming_bad_records(opened):
        for _ in pipeline.train_dataset(opened, 1, (24, 20), mirror=False).take(sum(opened.counts)):
            pass


def skip_bad(path):
    opened = checked_records.open_records(path, skip_bad=True)
    found = [key for batch in pipeline.eval_dataset(opened, 4, (24, 20)) for key in batch["key"].numpy()]
    assert len(found) == sum(opened.counts)


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_records_are_refused_by_name_or_read(tmp_path, memory_source, picture, count, capsys):
    images = {f"p{number % 2}/{number}.jpg": picture(number, format="JPEG") for number in range(6)}
    convert.convert(memory_source(images), tmp_path / "toy", num_shards=1)
    whole = next((tmp_path / "toy").glob("*.tfrecord")).read_bytes()
    path, refused = tmp_path / "some.tfrecord", 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        path.write_bytes(mutate(whole, rng))
        try:
            refused += names_its_file(path, lambda: read_records(path))
            # Building their graphs takes longer than reading the records.
            if seed % 10 == 0:
                skip_bad(path)
            if seed % 20 == 0 and checked_or_none(path):
                names_its_file(path, lambda: train(path))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert count / 2 < refused < count
    capsys.readouterr()


def checked_or_none(path):
    """The number of records; None if there are none for training."""
    try:
        return sum(checked_records.open_records(path).counts) or None
    except ValueError:
        return None


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_embeddings_are_refused_by_name_or_read(tmp_path, count):
    vectors = np.random.default_rng(0).normal(size=[6, 4]).astype(np.float32)
    path = tmp_path / "vectors.tfrecord"
    export.save_embeddings(path, export.Embeddings(vectors, [f"Zoë/{i}" for i in range(6)], np.arange(6)))
    whole, refused = path.read_bytes(), 0
    for seed in range(count):
        path.write_bytes(mutate(whole, np.random.default_rng(seed)))
        try:
            refused += names_its_file(path, lambda: export.load_embeddings(path))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert count / 2 < refused < count
