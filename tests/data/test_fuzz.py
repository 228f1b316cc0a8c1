"""Hostile input: mutated files of every format end in a ValueError or OSError that names the file, or are read.

Each input is derived from a seed, which a failure names. The memory that Python and NumPy take for an input is bounded,
no pickle bomb goes off, and nothing appears outside the output folder.
"""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data.conversion.convert import convert
from tfface.data.conversion.export_records import export_folder
from tfface.data.formats.recordio import ImageRecord, open_writer, pack
from tfface.data.protocols import megaface_lists, templates
from tfface.data.protocols.lfw_lists import read_lfw_people
from tfface.data.protocols.pair_lists import read_pairs
from tfface.data.sources.image_lists import ListSource
from tfface.data.sources.insightface_bin import BinSource
from tfface.data.sources.recordio_source import RecordIOSource
from tfface.data.sources.records_source import RecordsSource
from tfface.data.sources.zip_folders import ZipSource

MAX_MEMORY = 32 << 20
EXTREMES = (0, 1, 0xFF, 0x7F, 0xFFFF, 0x1FFFFFFF, 0x20000000, 0x7FFFFFFF, 0xFFFFFFFF, 2**62, 2**63, 2**64 - 1)
TOKENS = (
    b"../",
    b"/",
    b"\0",
    b",",
    b"\n",
    b"\t",
    b'"',
    b" ",
    b"-1",
    b"9" * 25,
    b"9" * 5000,
    b"nan",
    b"1e999",
    b"\xff",
    b"[",
    b"{",
)
MAGIC = bytes.fromhex("0a23d7ce")


def image(seed):
    """A small file with the signature of a JPEG; nothing here decodes it."""
    return b"\xff\xd8\xff" + np.random.default_rng(seed).bytes(40)


class Bomb:
    """Makes the folder `gone off` when Python unpickles it."""

    def __reduce__(self):
        return os.mkdir, ("gone off",)


def mutate(data, rng):
    """Returns bytes with one to four random changes, small and large."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 1 + max(1, len(data) // 2)))
        match rng.integers(0, 9):
            case 0 if at < len(data):
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at : at + 1] = rng.bytes(1)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at:]
            case 5:
                data[at:at] = rng.bytes(min(length, 64))
            case 6 | 0:
                size = int(rng.choice([1, 2, 4, 8]))
                data[at : at + size] = (
                    int(rng.choice(len(EXTREMES))) and EXTREMES[rng.integers(len(EXTREMES))]
                ).to_bytes(8, "little")[:size]
            case 7:
                data[at:at] = TOKENS[rng.integers(len(TOKENS))]
            case 8:
                data[at:at] = MAGIC + rng.bytes(4)
    return bytes(data)


def read_all(source):
    """Reads a source to its end; a bad image must be listed, or raise ValueError or OSError."""
    for item in source.items():
        try:
            assert isinstance(source.read(item), bytes)
        except (ValueError, OSError):
            assert source.where(item)
    for place, reason in source.skipped:
        assert place and reason and len(reason) < 3000


def recordio_pack(folder):
    with open_writer(folder / "a.rec") as write:
        for index in range(1, 7):
            write(
                index, pack(ImageRecord((index // 4, 1.0)[: 1 + index % 2], index, image(index) + MAGIC * (index % 3)))
            )
        write(0, pack(ImageRecord((7.0, 9.0), 0, b"")))
        write(7, pack(ImageRecord((1.0, 4.0), 7, b"")))
    (folder / "property").write_text("2,112,112")


def bins(folder):
    images, same = [image(n) for n in range(48)], [n % 2 == 0 for n in range(24)]
    for protocol in (3, 4, 5):
        (folder / f"{protocol}.bin").write_bytes(pickle.dumps((images[:44] + images[:4], same), protocol))
        (folder / f"bomb{protocol}.bin").write_bytes(pickle.dumps((images, [*same, Bomb()]), protocol))
    (folder / "2.bin").write_bytes(
        b"\x80\x02]q\0("
        + b"".join(b"U" + bytes([len(one)]) + one for one in images)
        + b"e]("
        + b"\x88\x89" * 12
        + b"e\x86."
    )


def image_lists(folder):
    names = [f"{n}.jpg" for n in range(8)]
    for name in names:
        (folder / name).write_bytes(image(0))
    columns = ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
    (folder / "a.csv").write_text("path,label\n" + "".join(f"{name},Ann\n" for name in names))
    (folder / "b.csv").write_text(f"path,label,{columns}\n" + "".join(f"{name},Bob{',1.5' * 10}\n" for name in names))
    (folder / "a.lst").write_text("".join(f"{n}\t{n % 3}.000\t{name}\n" for n, name in enumerate(names)))


def pair_lists(folder):
    lines = {
        "lfw.txt": ["2 2"],
        "ytf.txt": ["split number, pair number, first, second, same"],
        "agedb.txt": [],
        "calfw.txt": [],
    }
    for n in range(24):
        same, other = n // 2 % 2 == 0, "Ann" if n // 2 % 2 == 0 else "Bob"
        if n < 8:
            lines["lfw.txt"].append(f"Ann\t{n + 1}\t{n + 2}" if same else f"Ann\t{n + 1}\tBob\t{n + 2}")
        lines["ytf.txt"].append(f"{1 + n // 4}, {n + 1}, Ann/{n}, {other}/{n + 1}, {int(same)}")
        lines["agedb.txt"].append(f"{n}_Ann.jpg {n + 1}_{other}.jpg {int(same)}")
        lines["calfw.txt"] += [f"{n}_Ann.jpg {int(same)}", f"{n + 1}_{other}.jpg {int(same)}"]
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n")
    (folder / "pairs.csv").write_text(
        "left,right,same,fold\n" + "".join(f"a/{n},b/{n},{n % 2},{n // 3}\n" for n in range(9))
    )


def cfp_protocol(folder):
    split = folder / "Split" / "FP" / "01"
    split.mkdir(parents=True)
    for letter, kind in (("F", "frontal"), ("P", "profile")):
        lines = (f"{n} ../Data/Images/00{n}/{kind}/01.jpg\n" for n in range(1, 7))
        (folder / f"image_list_{letter}.txt").write_text("".join(lines))
    (split / "same.txt").write_text("1,1\n2,2\n")
    (split / "diff.txt").write_text("1,2\n2,3\n")


def other_lists(folder):
    (folder / "people.txt").write_text("2\n2\nAnn\t3\nBob\t1\n1\nCy\t2\n")
    (folder / "faces.txt").write_text("".join(f"{n}.jpg {n // 2} {n}\n" for n in range(9)))
    (folder / "template_pairs.txt").write_text("".join(f"{n} {n + 5} {n % 2}\n" for n in range(9)))
    (folder / "gallery.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + "".join(f"{n},{n},x\n" for n in range(9)))
    (folder / "points.txt").write_text("".join(f"{n}.jpg{' 1.5' * 11}\n" for n in range(9)))
    (folder / "megaface.txt").write_text("".join(f"/data/375/37531198@N0{n}/{n}_0.jpg\n" for n in range(9)))
    (folder / "probes.json").write_text(json.dumps({"path": [f"Ann/Ann_{n}.png" for n in range(9)], "id": ["Ann"] * 9}))
    (folder / "noise.txt").write_text("#terms\nAnn_3.png\n")


def archive(folder):
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for n in range(6):
            file.writestr(f"person_{n % 2}/{n}.jpg", image(n), compresslevel=n)


def records(folder, payload=lambda data, number: data):
    """A shard without a description; `payload` changes data before the checksums are computed."""
    with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
        for n in range(6):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image(n)])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[n % 2])),
                "identity": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"person_%d" % (n % 2)])),
                "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"person_%d/%d.jpg" % (n % 2, n)])),
                "landmarks": tf.train.Feature(float_list=tf.train.FloatList(value=range(10))),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(payload(example.SerializeToString(deterministic=True), n))


def unpack_records(path):
    source = RecordsSource(str(path))
    read_all(source)
    out = path.parent / "out" / "folder"
    try:
        export_folder(source, out, skip_bad=True)
    finally:
        assert {one.name for one in path.parent.iterdir()} <= {"a.tfrecord", "out"}
        assert {one.name for one in (path.parent / "out").glob("*")} <= {"folder"}


# Format -> (function that writes valid files, {file that is mutated: how it is read}).
FORMATS = {
    "recordio": (
        recordio_pack,
        {
            "a.rec": lambda path: (
                read_all(RecordIOSource(path)),
                (path.parent / "a.idx").unlink(),
                read_all(RecordIOSource(path)),
            ),
            "a.idx": lambda path: read_all(RecordIOSource(path.with_suffix(".rec"))),
            "property": lambda path: read_all(RecordIOSource(path.with_name("a.rec"))),
        },
    ),
    "bin": (
        bins,
        {
            f"{name}.bin": lambda path: (read_all(BinSource(path)), BinSource(path).pairs())
            for name in ("2", "3", "4", "5", "bomb3", "bomb4", "bomb5")
        },
    ),
    "image lists": (
        image_lists,
        {name: lambda path: read_all(ListSource(path)) for name in ("a.csv", "b.csv", "a.lst")},
    ),
    "pair lists": (
        pair_lists,
        dict.fromkeys(("lfw.txt", "ytf.txt", "agedb.txt", "calfw.txt", "pairs.csv"), read_pairs),
    ),
    "cfp": (
        cfp_protocol,
        {
            "image_list_F.txt": lambda path: read_pairs(path.parent / "Split" / "FP"),
            "image_list_P.txt": lambda path: read_pairs(path.parent / "Split" / "FP"),
            "Split/FP/01/same.txt": lambda path: read_pairs(path.parents[1]),
            "Split/FP/01/diff.txt": lambda path: read_pairs(path.parents[1]),
        },
    ),
    "other lists": (
        other_lists,
        {
            "people.txt": read_lfw_people,
            "faces.txt": templates.read_template_faces,
            "template_pairs.txt": templates.read_template_pairs,
            "gallery.csv": templates.read_template_subjects,
            "points.txt": templates.read_detected_faces,
            "megaface.txt": lambda path: megaface_lists.read_megaface_list(path, 3),
            "probes.json": lambda path: megaface_lists.read_megaface_list(path, 2),
            "noise.txt": lambda path: megaface_lists.find_noise(["Ann/Ann_3.png"], path),
        },
    ),
    "zip": (archive, {"a.zip": lambda path: read_all(ZipSource(path))}),
    "tfrecord": (records, {"a.tfrecord": unpack_records}),
}
FILES = [(form, name) for form, (_, files) in FORMATS.items() for name in files]


def run(folder, form, name, seed):
    """Writes the files of a format, one of them mutated, and reads them; returns "read" or "refused"."""
    make, files = FORMATS[form]
    rng = np.random.default_rng([seed, *name.encode()])
    folder.mkdir()
    make(folder)
    path = folder / name
    if form == "tfrecord" and seed % 2:  # An attacker would make the checksums fit.
        records(folder, lambda data, number: mutate(data, rng) if rng.random() < 0.5 else data)
    else:
        path.write_bytes(mutate(path.read_bytes(), rng))
    tracemalloc.start()
    try:
        files[name](path)
        outcome = "read"
    except (ValueError, OSError) as error:
        outcome = "refused"
        # The message may name a file that refers to the mutated one; TFRecords are named by their folder.
        named = [folder.name] if form == "tfrecord" else [one.name for one in folder.rglob("*") if one.is_file()]
        assert any(name in str(error) for name in named), (
            f"{form}, {name}, seed {seed}: the file is not named in {error!r}"
        )
        assert len(str(error)) < 3000
    except Exception as error:
        raise AssertionError(f"{form}, {name}, seed {seed}: {error!r}") from error
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MAX_MEMORY, f"{form}, {name}, seed {seed}: {peak >> 20} MB"
    return outcome


@pytest.fixture
def fuzz(tmp_path, monkeypatch):
    """Function that runs one input in its own folder."""
    monkeypatch.chdir(tmp_path)
    count = 0

    def once(form, name, seed):
        nonlocal count
        count += 1
        run(tmp_path / str(count), form, name, seed)

    yield once
    assert {one.name for one in tmp_path.iterdir()} == {str(number + 1) for number in range(count)}


@pytest.mark.parametrize(("form", "name"), FILES)
def test_valid_files_are_read_whole(tmp_path, monkeypatch, form, name):
    """Unmutated files are read to the end, so mutations reach every part of a reader; only the bombs are refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    FORMATS[form][0](tmp_path / "in")
    if name.startswith("bomb"):
        with pytest.raises(ValueError, match=f"{name}: operation .* is refused"):
            FORMATS[form][1][name](tmp_path / "in" / name)
    else:
        FORMATS[form][1][name](tmp_path / "in" / name)
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


def raising(error):
    def read(path):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (raising(struct.error("unpack requires 4 bytes")), "seed 7: error"),
        (raising(IndexError("list index out of range")), "seed 7: IndexError"),
        (raising(MemoryError()), "seed 7: MemoryError"),
        (raising(RecursionError()), "seed 7: RecursionError"),
        (raising(ValueError("bad")), "the file is not named"),
        (lambda path: path.read_bytes().ljust(MAX_MEMORY + 1), "seed 7: 32 MB"),
    ],
)
def test_what_must_not_escape_would_be_noticed(tmp_path, monkeypatch, read, message):
    monkeypatch.setitem(FORMATS, "zip", (archive, {"a.zip": read}))
    with pytest.raises(AssertionError, match=message):
        run(tmp_path / "1", "zip", "a.zip", 7)


@pytest.mark.parametrize(("form", "name"), FILES)
def test_some_mutations(fuzz, form, name):
    for seed in range(12):
        fuzz(form, name, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "name"), FILES)
def test_ten_thousand_mutations(fuzz, form, name):
    count = -(-12_000 // len(FILES))
    for seed in range(count):
        fuzz(form, name, 1000 + seed)


@pytest.mark.slow
def test_mutated_sources_are_converted_or_refused_by_name(tmp_path, picture):
    """Complete conversions: without `skip_bad` the first bad image is named, with it the rest is converted."""
    rng = np.random.default_rng(0)
    pictures = [picture(n, size=(8, 8), format=("JPEG", "PNG")[n % 2]) for n in range(8)]
    kept = refused = 0
    for number in range(150):
        path = tmp_path / f"{number}.rec"
        with open_writer(path) as write:
            for n, one in enumerate(pictures):
                write(n, pack(ImageRecord((float(n % 2),), n, one)))
        path.write_bytes(mutate(path.read_bytes(), rng))
        for skip_bad in (False, True):
            try:
                result = convert(RecordIOSource(path), tmp_path / f"{number}-{skip_bad}", skip_bad=skip_bad)
                kept += 1
                assert all(place and reason for place, reason in result.skipped)
            except ValueError as error:
                refused += 1
                assert f"{number}.rec" in str(error)
                assert not (tmp_path / f"{number}-{skip_bad}" / "dataset.json").exists()
    assert kept > 50 and refused > 50


def bomb_image():
    """One bit per pixel: 65 megapixels in a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (8125, 8000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["rec", "bin", "csv", "zip"])
def test_decompression_bomb_is_refused_by_the_pixel_limit(tmp_path, picture, kind):
    images = [picture(n, size=(8, 8)) for n in range(40)]
    images[7] = bomb_image()
    path = tmp_path / f"a.{kind}"
    if kind == "rec":
        with open_writer(path) as write:
            for n, one in enumerate(images):
                write(n, pack(ImageRecord((float(n % 2),), n, one)))
        source, place = RecordIOSource(path), "00000001/00000007.png (byte "
    elif kind == "bin":
        path.write_bytes(pickle.dumps((images, [True, False] * 10), 4))
        source, place = BinSource(path), "000007.png (byte "
    elif kind == "csv":
        for n, one in enumerate(images):
            (tmp_path / f"{n}.png").write_bytes(one)
        path.write_text("path,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(40)))
        source, place = ListSource(path), "7.png"
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for n, one in enumerate(images):
                file.writestr(f"{n % 2}/{n}.png", one)
        source, place = ZipSource(path), "1/7.png"
    with pytest.raises(ValueError) as error:
        convert(source, tmp_path / "out")
    assert f"{path}: {place}" in str(error.value) and "more than 64 megapixels" in str(error.value)
    result = convert(source, tmp_path / "out", skip_bad=True)
    ((where, reason),) = result.skipped
    assert where.startswith(place) and reason == "more than 64 megapixels"
    assert next(iter(result.datasets.values())).images == 39
    assert (tmp_path / "out" / "skipped.txt").read_text() == f"{where}: {reason}\n"
