"""Export to other formats: converted images come out again, byte for byte."""

import collections
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import programs
import pytest

from tfface.data.conversion import export_records
from tfface.data.conversion.convert import convert, convert_folder
from tfface.data.conversion.export_records import export_folder, export_recordio
from tfface.data.formats.landmarks import read_landmarks
from tfface.data.protocols.pair_lists import read_pairs
from tfface.data.records import DatasetInfo
from tfface.data.sources.base import Item, Source
from tfface.data.sources.insightface_bin import BinSource
from tfface.data.sources.recordio_source import RecordIOSource
from tfface.data.sources.records_source import RecordsSource

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Given(Source):
    """Images from a list of (key, identity, bytes or error)."""

    location = "given"

    def __init__(self, rows, bad=()):
        super().__init__()
        self.rows, self.bad = rows, bad

    def items(self):
        self.skipped = list(self.bad)
        return [Item(key, identity, place) for place, (key, identity, _) in enumerate(self.rows)]

    def read(self, item):
        data = self.rows[item.place][2]
        if isinstance(data, Exception):
            raise data
        return data


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def program(name, *arguments):
    return programs.run(f"tfrecords_tools/{name}.py", *arguments)


def insightface_read(folder):
    """Reads a pack as InsightFace's training does: record 0, the records of identities, then their images.

    Returns:
      Dict from index to (label, image).
    """
    data = (folder / "train.rec").read_bytes()
    offsets = dict(map(int, line.split("\t")) for line in (folder / "train.idx").read_text().splitlines())

    def read(index):
        magic, word = struct.unpack_from("<II", data, offsets[index])
        assert magic == 0xCED7230A and word >> 29 == 0
        body = data[offsets[index] + 8 :][: word & (2**29 - 1)]
        flag, label, number, _ = struct.unpack_from("<IfQQ", body)
        assert number == index
        return [*struct.unpack_from(f"<{flag}f", body, 24)] or label, body[24 + 4 * flag :]

    (first, last), nothing = read(0)
    assert nothing == b"" and len(offsets) == last
    images = {}
    for label, identity in enumerate(range(int(first), int(last))):
        (start, stop), nothing = read(identity)
        assert nothing == b""
        for index in range(int(start), int(stop)):
            images[index] = read(index)
            assert images[index][0] == label
    assert list(images) == list(range(1, int(first)))
    return images


def test_folder_comes_back(faces, tmp_path):
    header = "path," + ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy") + "\n"
    rows = [f"person_{n}/frontal/00.jpg" + "".join(f",{n + m / 3:.7f}" for m in range(10)) for n in range(3)]
    (faces / "landmarks.csv").write_text(header + "\n".join(rows) + "\n")
    convert_folder(faces, tmp_path / "toy", num_shards=3)
    assert export_folder(RecordsSource(tmp_path / "toy"), tmp_path / "back") == (30, [])
    before, after = tree(faces), tree(tmp_path / "back")
    del before["landmarks.csv"], after["landmarks.csv"]
    assert after == before
    expected, found = (read_landmarks(folder / "landmarks.csv") for folder in (faces, tmp_path / "back"))
    assert set(found) == set(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(np.float32(values), np.float32(found[key]))
    # Landmarks of the second round are those of the first, bit for bit.
    convert_folder(tmp_path / "back", tmp_path / "again" / "toy", num_shards=3)
    shards = [tree(folder) for folder in (tmp_path / "toy", tmp_path / "again" / "toy")]
    assert shards[0] == shards[1]


def test_paths_have_identity_and_extension(tmp_path):
    rows = [
        ("a/b/1", "a/b", b"\x89PNG\r\n\x1a\n"),
        ("x/1.JPG", "Ann", b"1"),
        ("2", "Bob", b"\xff\xd8\xff"),
        ("3", "Bob", b"?"),
    ]
    assert export_folder(Given(rows), tmp_path / "out") == (4, [])
    assert set(tree(tmp_path / "out")) == {"a/b/1.png", "Ann/x/1.JPG", "Bob/2.jpg", "Bob/3"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("../1.jpg", "..", b""), "stays below"),
        (("1.jpg", "../up", b""), "stays below"),
        (("1.jpg", "/etc", b""), "stays below"),
        (("a/../../1.jpg", "a", b""), "stays below"),
        (("1.jpg", "a\0", b""), "control character"),
        (("1.jpg", "good", b""), "another image has the same path good/1.jpg"),
        (("1.jpg", "a", ValueError("damaged so")), "damaged so"),
        (("1.jpg", "a", OSError("gone")), "gone"),
    ],
)
def test_bad_records_are_refused_or_left_out(tmp_path, row, reason):
    source = Given([("good/1.jpg", "good", b"good"), row])
    with pytest.raises(ValueError, match=rf"given, .*: .*{reason}.* \(skip_bad would leave it out\)"):
        export_folder(source, tmp_path / "in" / "out")
    assert tree(tmp_path) == {}
    count, skipped = export_folder(source, tmp_path / "in" / "out", skip_bad=True)
    assert tree(tmp_path) == {"in/out/good/1.jpg": b"good"}
    assert count == 1 and len(skipped) == 1 and reason in skipped[0][1]


@pytest.mark.parametrize("export", [export_folder, export_recordio])
def test_what_the_index_calls_bad_counts_too(tmp_path, export):
    source = Given([("a/1.jpg", "a", b"good")], bad=[("byte 7", "broken")])
    with pytest.raises(ValueError, match="given, byte 7: broken"):
        export(source, tmp_path / "out")
    assert export(source, tmp_path / "out", skip_bad=True) == (1, [("byte 7", "broken")])
    with pytest.raises(ValueError, match="out exists already"):
        export(source, tmp_path / "out", skip_bad=True)
    with pytest.raises(ValueError, match="given holds no images"):
        export(Given([]), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_pack_is_what_insightface_reads_and_comes_back_as_the_same_bytes(faces, tmp_path):
    convert_folder(faces, tmp_path / "toy", num_shards=2)
    info = DatasetInfo.load(tmp_path / "toy")
    source = RecordsSource(tmp_path / "toy")
    assert export_recordio(source, tmp_path / "pack", image_size=info.image_size) == (30, [])
    assert (tmp_path / "pack" / "property").read_text() == "6,24,20\n"
    keys = sorted(tree(faces))
    expected = {n: (int(key[7]), (faces / key).read_bytes()) for n, key in enumerate(keys, start=1)}
    assert insightface_read(tmp_path / "pack") == expected

    convert(RecordIOSource(tmp_path / "pack" / "train.rec"), tmp_path / "from_pack")
    info = DatasetInfo.load(tmp_path / "from_pack")
    assert info.label_map == tuple(f"{label:08d}" for label in range(6))
    export_recordio(RecordsSource(tmp_path / "from_pack"), tmp_path / "again", image_size=info.image_size)
    assert tree(tmp_path / "again") == tree(tmp_path / "pack")


def test_real_pack_comes_back_with_its_payloads_and_labels(shared_data, tmp_path):
    path = shared_data / "formats" / "tiny_rec" / "train.rec"
    source = RecordIOSource(path)
    before = [(int(item.identity), source.read(item)) for item in source.items()]
    result = convert(source, tmp_path / "tiny")
    (info,) = result.datasets.values()
    assert (info.images, info.identities, info.image_size, result.skipped) == (8, 2, (112, 112), [])
    export_recordio(RecordsSource(tmp_path / "tiny"), tmp_path / "pack", image_size=info.image_size)
    after = insightface_read(tmp_path / "pack")
    assert collections.Counter(after.values()) == collections.Counter(before)
    assert len(set(before)) == 8 and collections.Counter(label for label, _ in before) == {0: 4, 1: 4}


def test_left_out_images_leave_no_gaps(tmp_path):
    rows = [(f"{p}/{n}.jpg", p, f"{p}{n}".encode()) for p in "ab" for n in range(3)]
    rows[1] = (*rows[1][:2], ValueError("damaged"))
    count, skipped = export_recordio(Given(rows), tmp_path / "pack", skip_bad=True)
    assert count == 5 and [reason for _, reason in skipped] == ["damaged"]
    images = insightface_read(tmp_path / "pack")
    assert [image for _, image in images.values()] == [b"a0", b"a2", b"b0", b"b1", b"b2"]
    assert not (tmp_path / "pack" / "property").exists()
    rows[:3] = [(key, identity, ValueError("damaged")) for key, identity, _ in rows[:3]]
    with pytest.raises(ValueError, match="1 identities have no readable image"):
        export_recordio(Given(rows), tmp_path / "other", skip_bad=True)
    assert not (tmp_path / "other").exists()


def test_indices_must_be_exact_in_float32(tmp_path, monkeypatch):
    assert np.float32(2**24 - 1) != np.float32(2**24 - 2) and np.float32(2**24) == np.float32(2**24 + 1)
    assert export_records.MAX_EXACT_LABEL == 2**24
    monkeypatch.setattr(export_records, "MAX_EXACT_LABEL", 8)
    rows = [(f"a/{n}.jpg", "a", b"") for n in range(7)]
    assert export_recordio(Given(rows[:6]), tmp_path / "ok")[0] == 6
    with pytest.raises(ValueError, match="at most 8 records, got 7 images of 1 identities"):
        export_recordio(Given(rows), tmp_path / "pack")


def verification_set(path, picture, pairs=24):
    images = [picture(n, format=("JPEG", "PNG")[n % 2]) for n in range(2 * pairs)]
    same = [n % 2 == 0 for n in range(pairs)]
    path.write_bytes(pickle.dumps((images, same), 4))
    return images, same


def test_verification_set_becomes_a_dataset_and_its_pairs(tmp_path, picture):
    images, same = verification_set(tmp_path / "lfw.bin", picture)
    source = BinSource(tmp_path / "lfw.bin")
    (info,) = convert(source, tmp_path / "lfw").datasets.values()
    records = RecordsSource(tmp_path / "lfw")
    stored = {item.key: (item.identity, records.read(item)) for item in records.items()}
    pairs, dropped = source.pairs().restrict(stored)
    assert info.images == len(stored) == 48 and not dropped
    for number, (left, right, one) in enumerate(zip(pairs.left, pairs.right, same, strict=True)):
        assert (stored[left][1], stored[right][1]) == (images[2 * number], images[2 * number + 1])
        assert (stored[left][0] == stored[right][0]) == one


def test_from_bin_writes_dataset_and_pairs(tmp_path, picture):
    images, same = verification_set(tmp_path / "lfw.bin", picture)
    images[5] = images[5][:40]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((images, same), 4))
    paths = f"--input={tmp_path / 'lfw.bin'}", f"--output={tmp_path / 'lfw'}"
    done = program("from_bin", *paths)
    assert done.returncode == 1 and "000005.png (byte" in done.stderr.splitlines()[-1]
    done = program("from_bin", *paths, "--skip_bad")
    assert done.returncode == 0, done.stderr
    assert "47 images of" in done.stdout and "23 pairs; 1 left out: an image is not in the dataset" in done.stdout
    pairs = read_pairs(tmp_path / "lfw" / "pairs.csv")
    assert pairs.same.tolist() == same[:2] + same[3:] and "000004.jpg" not in pairs.left


def test_programs_take_a_pack_there_and_back(tmp_path, faces):
    convert_folder(faces, tmp_path / "toy")
    export_recordio(RecordsSource(tmp_path / "toy"), tmp_path / "pack", image_size=(24, 20))
    done = program("from_recordio", f"--input={tmp_path / 'pack' / 'train.rec'}", f"--output={tmp_path / 'records'}")
    assert done.returncode == 0, done.stderr
    assert "30 images of 6 identities, 20 x 24 pixels" in done.stdout
    done = program("to_recordio", f"--input={tmp_path / 'records'}", f"--output={tmp_path / 'back'}")
    assert done.returncode == 0, done.stderr
    assert "read 30 images, left out 0" in done.stdout
    assert tree(tmp_path / "back") == tree(tmp_path / "pack")


@pytest.mark.slow
def test_other_programs(tmp_path, faces, picture):
    rows = "".join(f"{key},{key.split('/')[0]}\n" for key in tree(faces))
    (tmp_path / "list.csv").write_text("path,label\n" + rows)
    done = program("from_list", f"--input={tmp_path / 'list.csv'}", f"--root={faces}", f"--output={tmp_path / 'list'}")
    assert done.returncode == 0, done.stderr
    done = program("to_folder", f"--input={tmp_path / 'list'}", f"--output={tmp_path / 'back'}")
    assert done.returncode == 0 and tree(tmp_path / "back") == tree(faces), done.stderr
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for key, data in tree(faces).items():
            archive.writestr(f"root/{key}", data)
    done = program("from_zip", f"--input={tmp_path / 'a.zip'}", "--root=root", f"--output={tmp_path / 'zip'}")
    assert done.returncode == 0, done.stderr
    assert "30 images of 6 identities" in done.stdout
    for name, wrong in (
        ("from_recordio", "absent.rec"),
        ("from_bin", "a.zip"),
        ("from_zip", "list.csv"),
        ("from_list", "a.zip"),
    ):
        done = program(name, f"--input={tmp_path / wrong}", f"--output={tmp_path / 'none'}")
        assert done.returncode == 1 and wrong in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()
