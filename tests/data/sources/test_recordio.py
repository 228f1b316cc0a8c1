"""RecordIO, against a slow writer and reader that follow dmlc-core's format literally, and packs as a source."""

import io
import pickle
import struct

import numpy as np
import pytest

from tfface.data.formats import recordio
from tfface.data.formats.recordio import ImageRecord
from tfface.data.sources.recordio_source import RecordIOSource, read_property

MAGIC = bytes.fromhex("0a23d7ce")


def slow_write(record):
    """Goes through the record in steps of four bytes, as dmlc-core does."""
    out, start, length = b"", 0, len(record)
    for at in range(0, length // 4 * 4, 4):
        if record[at : at + 4] == MAGIC:
            out += MAGIC + struct.pack("<I", (1 if start == 0 else 2) * 2**29 + at - start) + record[start:at]
            start = at + 4
    out += MAGIC + struct.pack("<I", (3 if start else 0) * 2**29 + length - start) + record[start:]
    return out + b"\0" * (-length % 4)


def image_record(label, index, image=b"image", flag=0, labels=()):
    """An image's record by the struct that MXNet documents."""
    return struct.pack("<IfQQ", flag, label, index, 0) + struct.pack(f"<{len(labels)}f", *labels) + image


def write_pack(path, records, index=True):
    """Writes {index: bytes} with an .idx beside it; returns the offsets."""
    data, offsets = b"", {}
    for key, record in records.items():
        offsets[key] = len(data)
        data += slow_write(record)
    path.write_bytes(data)
    if index:
        path.with_suffix(".idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in offsets.items()))
    return offsets


def random_record(rng):
    """Bytes in which the magic number is frequent, at multiples of four and elsewhere."""
    pieces = [MAGIC, b"\x0a", b"\x23\xd7", rng.bytes(4), rng.bytes(3), b""]
    return b"".join(pieces[choice] for choice in rng.integers(0, len(pieces), rng.integers(0, 9)))


def read_all(path):
    bad = []
    with open(path, "rb") as file:
        found = recordio.find_records(file, path.stat().st_size, lambda *entry: bad.append(entry))
        return [(offset, recordio.read_parts(file, parts)) for offset, parts in found], bad


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_those_of_the_slow_writer_and_come_back(tmp_path, seed):
    rng = np.random.default_rng(seed)
    records = [random_record(rng) for _ in range(50)]
    path = tmp_path / "a.rec"
    with recordio.open_writer(path) as write:
        for index, record in enumerate(records):
            write(2 * index, record)
    assert path.read_bytes() == b"".join(map(slow_write, records))
    found, bad = read_all(path)
    assert [record for _, record in found] == records and not bad
    offsets = recordio.read_index(tmp_path / "a.idx", 50)
    assert list(offsets) == list(range(0, 100, 2)) and list(offsets.values()) == [offset for offset, _ in found]
    with open(path, "rb") as file:
        for index in rng.permutation(50).tolist():
            assert recordio.read_record(file, offsets[2 * index], path.stat().st_size) == records[index]


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 7, 8, 9, 13, 100])
def test_beginning_of_a_record_of_several_parts(limit):
    record = b"abcd" + MAGIC + MAGIC + b"efghi"
    file = io.BytesIO(slow_write(record))
    parts, end = recordio.find_record(file, 0, len(file.getvalue()))
    assert len(parts) == 3 and end == len(file.getvalue())
    start = recordio.read_parts(file, parts, limit)
    assert start == record[:limit]


def test_head_of_an_image_follows_the_struct():
    assert recordio.pack(ImageRecord((7.0,), 5, b"x")) == image_record(7, 5, b"x")
    assert recordio.pack(ImageRecord((7.0, 1.0), 5, b"x")) == image_record(0, 5, b"x", 2, (7, 1))
    for labels in ((3.0,), (3.0, 0.5), (1.0, 2.0, 3.0)):
        record = ImageRecord(labels, 2**40, b"image")
        assert recordio.unpack(recordio.pack(record)) == record
    for data, reason in ((b"", "at least 24 bytes, got 0"), (image_record(0, 0, b"123", 1), "1 labels are announced")):
        with pytest.raises(ValueError, match=reason):
            recordio.unpack(data)


@pytest.mark.parametrize("damaged", range(4))
@pytest.mark.parametrize("at", [0, 7])
def test_damage_costs_one_record(tmp_path, damaged, at):
    path = tmp_path / "a.rec"
    records = {index: image_record(index, index, bytes(40 + index)) for index in range(4)}
    offsets = write_pack(path, records)
    data = bytearray(path.read_bytes())
    data[offsets[damaged] + at] ^= 0x30  # Damages the magic number, or the length, which then goes far beyond the end.
    path.write_bytes(data)
    found, bad = read_all(path)
    assert [record for _, record in found] == [records[index] for index in range(4) if index != damaged]
    assert [offset for offset, _ in bad] == [offsets[damaged]]


@pytest.mark.parametrize("cut", [1, 5, 8, 20])
def test_truncated_file_is_read_up_to_its_last_record(tmp_path, cut):
    path = tmp_path / "a.rec"
    offsets = write_pack(path, {index: image_record(1, index, bytes(100)) for index in range(3)})
    path.write_bytes(path.read_bytes()[: offsets[2] + cut])
    found, bad = read_all(path)
    assert [offset for offset, _ in found] == [offsets[0], offsets[1]]
    assert len(bad) == 1 and bad[0][0] == offsets[2] and "end" in bad[0][1]


def test_parts_out_of_order_are_refused():
    whole = slow_write(b"abcd" + MAGIC + b"ef")
    first, last = whole[:12], whole[12:]
    for data in (last, first + first + last, first, first + slow_write(b"ab")):
        with pytest.raises(ValueError, match="no record at byte 0|no further part at byte 12|ends within"):
            recordio.find_record(io.BytesIO(data), 0, len(data))


def test_file_that_is_no_recordio_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("tfface.data.sources.file_source.MAX_BAD", 5)
    (tmp_path / "a.rec").write_bytes((MAGIC + b"\xff\xff\xff\x1f") * 10)
    with pytest.raises(ValueError, match="a.rec: more than 5 bad entries, the last one at byte 40: a part of"):
        list(RecordIOSource(tmp_path / "a.rec").items())


@pytest.mark.parametrize(
    "text", ["1", "1 2\n", "a\t1\n", "1\t-1\n", "1\t2\n1\t3\n", "1\t2\n2\t3\n3\t4\n", "1\t" + "9" * 80]
)
def test_malformed_index_is_refused_by_line(tmp_path, text):
    (tmp_path / "a.idx").write_text(text)
    with pytest.raises(ValueError, match=r"a\.idx, line \d: expected"):
        recordio.read_index(tmp_path / "a.idx", 2)


def insightface_pack(path, jpeg=b"\xff\xd8\xff" + bytes(9), png=b"\x89PNG\r\n\x1a\n" + bytes(9)):
    """Four images of two identities in InsightFace's layout, with header records after the images."""
    records = {index: image_record(0, index, jpeg, 2, (0, 1)) for index in (1, 2)}
    records |= {index: image_record(0, index, png, 2, (1, 1)) for index in (3, 4)}
    records[0] = image_record(0, 0, b"", 2, (5, 7))
    records |= {5: image_record(0, 5, b"", 2, (1, 3)), 6: image_record(0, 6, b"", 2, (3, 5))}
    (path.parent / "property").write_text("2,112,112\n")
    return write_pack(path, records)


@pytest.mark.parametrize("with_index", [True, False])
def test_headers_of_insightface_are_no_images(tmp_path, with_index):
    offsets = insightface_pack(tmp_path / "train.rec")
    if not with_index:
        (tmp_path / "train.idx").unlink()
    source = RecordIOSource(tmp_path / "train.rec")
    items = list(source.items())
    assert [(item.key, item.identity, item.place) for item in items] == [
        ("00000000/00000001.jpg", "00000000", offsets[1]),
        ("00000000/00000002.jpg", "00000000", offsets[2]),
        ("00000001/00000003.png", "00000001", offsets[3]),
        ("00000001/00000004.png", "00000001", offsets[4]),
    ]
    assert source.skipped == [] and source.read(items[3]) == b"\x89PNG\r\n\x1a\n" + bytes(9)
    assert read_property(tmp_path / "property") == (2, 112, 112)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(items[0]) == source.read(items[0])


def test_index_chooses_the_records(tmp_path):
    offsets = insightface_pack(tmp_path / "train.rec")
    (tmp_path / "clean.idx").write_text(f"4\t{offsets[4]}\n77\t{offsets[1]}\n5\t{offsets[5]}\n")
    items = list(RecordIOSource(tmp_path / "train.rec", tmp_path / "clean.idx").items())
    assert [item.key for item in items] == ["00000000/00000077.jpg", "00000001/00000004.png"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (image_record(0.5, 9), "label 0.5, expected a whole number from 0 to 1"),
        (image_record(-1, 9), "label -1"),
        (image_record(2, 9), "label 2"),
        (image_record(float("nan"), 9), "label nan"),
        (image_record(float("inf"), 9), "label inf"),
        (image_record(0, 9, b""), "without an image"),
        (image_record(0, 9, b"", 3, (1, 2, 3)), "without an image"),
        (image_record(0, 9, b"", 2**32 - 1), "4294967295 labels are announced"),
        (image_record(0, 9, b"\xff\xd8\xff", 5000, [1.0] * 5000), "at most 4096 are read"),
        (b"short", "at least 24 bytes"),
    ],
)
@pytest.mark.parametrize("with_index", [True, False])
def test_bad_records_are_listed_with_offset_and_reason(tmp_path, record, reason, with_index):
    (tmp_path / "property").write_text("2,112,112")
    offsets = write_pack(tmp_path / "a.rec", {1: image_record(1, 1), 9: record, 2: image_record(0, 2)}, with_index)
    source = RecordIOSource(tmp_path / "a.rec")
    assert len(list(source.items())) == 2
    ((place, why),) = source.skipped
    assert place == f"byte {offsets[9]}" and reason in why


def test_index_that_points_elsewhere_is_listed(tmp_path):
    offsets = write_pack(tmp_path / "a.rec", {1: image_record(1, 1), 2: image_record(0, 2)})
    (tmp_path / "a.idx").write_text(f"1\t0\n2\t{offsets[2] + 4}\n")
    source = RecordIOSource(tmp_path / "a.rec")
    assert len(list(source.items())) == 1
    assert source.skipped == [(f"byte {offsets[2] + 4} (index 2)", f"no record at byte {offsets[2] + 4}")]


@pytest.mark.parametrize("text", ["", "2,112", "2,112,112,1", "0,112,112", "a,b,c", "\xff"])
def test_malformed_property_is_refused(tmp_path, text):
    write_pack(tmp_path / "a.rec", {1: image_record(1, 1)})
    (tmp_path / "property").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="property: expected 'identities,height,width'"):
        list(RecordIOSource(tmp_path / "a.rec").items())


def test_fingerprint_changes_with_the_file(tmp_path):
    write_pack(tmp_path / "a.rec", {1: image_record(1, 1)})
    source = RecordIOSource(tmp_path / "a.rec")
    list(source.items())
    before = source.fingerprint
    write_pack(tmp_path / "a.rec", {1: image_record(1, 1), 2: image_record(1, 2)})
    list(source.items())
    assert source.fingerprint != before


@pytest.mark.parametrize("with_index", [True, False])
def test_real_pack(shared_data, tmp_path, with_index):
    """Eight images of two people; the list beside the pack names them."""
    folder = shared_data / "formats" / "tiny_rec"
    path = folder / "train.rec"
    if not with_index:
        path = tmp_path / "train.rec"
        path.symlink_to(folder / "train.rec")
    source = RecordIOSource(path)
    items = list(source.items())
    rows = [line.split("\t") for line in (folder / "train.lst").read_text().splitlines()]
    assert [item.key for item in items] == [f"{int(label):08d}/{int(index):08d}.jpg" for index, label, _ in rows]
    assert len(items) == 8 and not source.skipped
    data = (folder / "train.rec").read_bytes()
    for item in items:
        image = source.read(item)
        assert image.startswith(b"\xff\xd8\xff") and image.endswith(b"\xff\xd9")
        assert data[item.place + 32 : item.place + 32 + len(image)] == image


def test_pack_that_was_cut_off_gives_what_it_has(tmp_path):
    offsets = write_pack(tmp_path / "a.rec", {index: image_record(1, index) for index in range(100)})
    (tmp_path / "a.rec").write_bytes((tmp_path / "a.rec").read_bytes()[: offsets[3]])
    source = RecordIOSource(tmp_path / "a.rec")
    assert len(list(source.items())) == 3 and len(source.skipped) == 97
    assert source.skipped[0] == (
        f"byte {offsets[3]} (index 3)",
        f"the file ends within a record, at byte {offsets[3]} of {offsets[3]}",
    )
