"""Finding and checking images of a folder: accepted ones, refused ones, and the reasons."""

import contextlib
import importlib
import io
import os
import pathlib
import shutil
import tempfile
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data.formats import landmarks
from tfface.data.images import decoding
from tfface.data.sources import folders
from tfface.data.sources.base import Item

_CSV_HEADER = "path," + ",".join(landmarks.LANDMARK_COLUMNS) + "\n"


@contextlib.contextmanager
def as_nobody():
    """Drops the rights of root, for whom permission bits do not count."""
    if os.geteuid() != 0:
        yield
        return
    # This is loaded lazily, and the interpreter may be in a folder that only root can read.
    importlib.import_module("concurrent.futures.thread")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that every user can reach, unlike `tmp_path`."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_find_images_lists_nested_images_only(faces):
    (faces / ".hidden").mkdir()
    (faces / ".hidden" / "1.jpg").write_bytes(b"")
    (faces / "landmarks.csv").write_text("")
    (faces / "person_0" / ".thumb.jpg").write_bytes(b"")
    (faces / "person_0" / "notes.jpg.txt").write_text("")
    (faces / "person_9").mkdir()
    os.mkfifo(faces / "person_0" / "pipe.jpg")
    listing = folders.find_images(faces)
    expected = [path.relative_to(faces).as_posix() for path in faces.glob("person_*/*/*")]
    assert listing.keys == sorted(expected) and len(expected) == 30
    views = [f"person_{index}{view}" for index in range(6) for view in ("", "/frontal", "/profile")]
    assert listing.folders == [*views, "person_9"]
    assert (listing.ignored, listing.links, listing.unreadable) == (5, 0, [])


def test_links_are_counted_and_never_followed(faces, tmp_path, picture):
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "1.png").write_bytes(picture(0))
    before = folders.find_images(faces).keys
    (faces / "person_0" / "out").symlink_to(tmp_path / "outside")
    (faces / "person_8").symlink_to(tmp_path / "outside")
    (faces / "person_0" / "1.png").symlink_to(tmp_path / "outside" / "deep" / "1.png")
    (faces / "person_0" / "round").symlink_to(faces)
    listing = folders.find_images(faces)
    assert listing.keys == before and listing.links == 4


def test_unreadable_folder_and_file_are_reported(open_folder, picture):
    for identity in ("a", "b"):
        (open_folder / identity).mkdir()
        (open_folder / identity / "1.png").write_bytes(picture(1))
    (open_folder / "a").chmod(0)
    (open_folder / "b" / "1.png").chmod(0)
    with as_nobody():
        listing = folders.find_images(open_folder)
        assert (listing.keys, listing.unreadable) == (["b/1.png"], [("a/", "Permission denied")])
        source = folders.FolderSource(open_folder)
        (item,) = source.items()
        with pytest.raises(PermissionError):
            source.read(item)
    assert source.skipped == [("a/", "Permission denied")]


def test_root_must_be_a_readable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        folders.find_images(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        folders.find_images(tmp_path / "absent")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "LA", "RGBA"])
def test_png_of_any_mode_is_accepted(picture, mode):
    assert decoding.check_image(picture(1, mode=mode)) == (24, 20)


def test_png_of_16_bits_keeps_the_upper_eight():
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16) + 77
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    assert decoding.check_image(buffer.getvalue()) == (16, 16)
    decoded = decoding.decode_image(tf.constant(buffer.getvalue()), 16).numpy() * 127.5 + 127.5
    np.testing.assert_allclose(decoded, np.repeat(values[..., None] >> 8, 3, axis=-1), atol=1e-3)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_any_mode_is_accepted_and_decodes_as_in_pillow(picture, mode, progressive):
    data = picture(2, mode=mode, format="JPEG", progressive=progressive)
    assert decoding.check_image(data) == (24, 20)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32)
    decoded = decoding.decode_image(tf.constant(data), (24, 20)).numpy()
    np.testing.assert_allclose(decoded * 127.5 + 127.5, reference, atol=1.01)


def test_pixels_of_png_are_exact_and_span_minus_one_to_one(picture):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1) * np.array([1, 3, 7], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    expected = ((values.astype(np.float64) - 127.5) / 127.5).astype(np.float32)
    for decode in (decoding.decode_image, tf.function(decoding.decode_image)):
        decoded = decode(tf.constant(buffer.getvalue()), 16).numpy()
        np.testing.assert_allclose(decoded, expected, rtol=2e-7, atol=1e-9)
        assert decoded.min() == -1 and decoded.max() == 1 and decoded.dtype == np.float32


@pytest.mark.parametrize("size", [(12, 10), (11, 19), (48, 50)])
def test_resizing_agrees_with_pillow(picture, size):
    data = picture(3)
    reference = Image.open(io.BytesIO(data)).resize(size[::-1], Image.Resampling.BILINEAR)
    decoded = decoding.decode_image(tf.constant(data), size).numpy()
    np.testing.assert_allclose(decoded * 127.5 + 127.5, np.asarray(reference, np.float32), atol=1.5)


def test_decode_image_has_a_static_shape():
    decode = tf.function(lambda data: decoding.decode_image(data, (112, 96)))
    assert decode.get_concrete_function(tf.TensorSpec([], tf.string)).structured_outputs.shape == (112, 96, 3)


@pytest.mark.parametrize("image_size", [0, -1, (112,), (112, 0), (1, 2, 3), 1.5, "ab", None])
def test_bad_image_size_is_refused(image_size):
    with pytest.raises(ValueError, match="`image_size` must be .* got"):
        decoding.size_pair(image_size)


def damaged(kind, picture):
    jpeg, png = picture(4, format="JPEG"), picture(4)
    if kind == "animation":
        other = Image.open(io.BytesIO(picture(5)))
        return picture(4, save_all=True, append_images=[other])
    if kind == "bomb":  # One bit per pixel: 65 megapixels in a few kilobytes.
        buffer = io.BytesIO()
        Image.new("1", (8125, 8000)).save(buffer, "PNG")
        return buffer.getvalue()
    return {
        "empty": b"",
        "text": b"This is no image.",
        "gif": picture(4, format="GIF"),
        "bmp": picture(4, format="BMP"),
        "webp": picture(4, format="WEBP"),
        "jpeg half": jpeg[: len(jpeg) // 2],
        "jpeg without end": jpeg[:-2],
        "png half": png[: len(png) // 2],
        "png without end": png[:-12],  # Pillow reads this one without complaint.
        "png bit": png[:60] + bytes([png[60] ^ 1]) + png[61:],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "not a JPEG or PNG"),
        ("text", "not a JPEG or PNG"),
        ("gif", "not a JPEG or PNG"),
        ("bmp", "not a JPEG or PNG"),
        ("webp", "not a JPEG or PNG"),
        # Older releases of Pillow do not recognise the remaining part of the header.
        ("jpeg half", r"damaged image \((?!TensorFlow)|not a JPEG or PNG image"),
        ("jpeg without end", "damaged"),
        ("png half", "damaged"),
        ("png without end", "damaged"),
        ("png bit", "damaged"),
        ("animation", "animation"),
        ("bomb", "more than 64 megapixels"),
    ],
)
def test_anything_else_is_refused_with_its_reason(picture, kind, reason):
    with pytest.raises(ValueError, match=reason):
        decoding.check_image(damaged(kind, picture))


def test_header_of_a_huge_image_is_refused_unread(picture):
    header = bytearray(picture(4))
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # IHDR: width, height
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match="more than 64 megapixels"):
        decoding.check_image(bytes(header))


def test_source_yields_images_of_identities_and_names_the_rest(faces, picture):
    (faces / "direct.png").write_bytes(picture(0))
    (faces / "empty").mkdir()
    (faces / "link.png").symlink_to(faces / "direct.png")
    (faces / "notes.txt").write_text("")
    source = folders.FolderSource(faces)
    items = list(source.items())
    assert {item.key: item.identity for item in items} == {
        path.relative_to(faces).as_posix(): path.parts[-3] for path in faces.glob("*/*/*")
    }
    assert all(source.read(item) == (faces / item.key).read_bytes() for item in items)
    assert source.skipped == [
        ("empty/", "no images of this identity"),
        ("direct.png", "not in the folder of an identity"),
    ]
    assert source.passed_over == {"hidden or other files": 1, "symbolic links": 1} and source.location == faces


def test_fingerprint_follows_the_files(faces, picture):
    def fingerprint():
        source = folders.FolderSource(faces)
        list(source.items())
        return source.fingerprint

    before = fingerprint()
    assert before == fingerprint()
    path = faces / "person_0" / "frontal" / "00.jpg"
    path.write_bytes(picture(99, format="JPEG"))
    assert fingerprint() != before


def test_huge_file_is_refused_without_being_read_whole(faces):
    path = faces / "person_0" / "frontal" / "00.jpg"
    os.truncate(path, 1 << 33)  # A sparse file needs no disk space.
    with pytest.raises(ValueError, match="at most 64 MB"):
        folders.FolderSource(faces).read(Item("person_0/frontal/00.jpg", "person_0"))


def test_landmarks_are_read_by_path(tmp_path):
    path = tmp_path / "landmarks.csv"
    values = np.random.default_rng(0).uniform(0, 112, (2, 10)).round(3)
    rows = [",".join(map(str, row)) for row in values.tolist()]
    path.write_text(f"{_CSV_HEADER}001/01.jpg,{rows[0]}\nNA,{rows[1]}\n")
    table = landmarks.read_landmarks(path)
    assert list(table) == ["001/01.jpg", "NA"]
    np.testing.assert_array_equal(list(table.values()), values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the names of columns"),
        ("path,x1\na,1\n", "column y1 is missing"),
        (_CSV_HEADER + "a,1,2,3,4,5,6,7,8,9,ten\n", "'a': expected ten finite coordinates"),
        (_CSV_HEADER + "a,1,2,3,4,5,6,7,8,9,\n", "'a': expected ten finite coordinates"),
        (_CSV_HEADER + "a,1,2,3,4,5,6,7,8,9,10,11\n", "not a valid CSV table"),
        (_CSV_HEADER + "a,1,2,3\n", "'a': expected ten finite coordinates"),
        (_CSV_HEADER + "b,1,2,3,4,5,6,7,8,9,10\na,1,2,3,4,5,6,7,8,9,inf\n", "'a': expected ten finite coordinates"),
        (_CSV_HEADER + "a,1,2,3,4,5,6,7,8,9,10\n" * 2, "'a' occurs twice"),
        ("\xff\xfe", "not a valid CSV table"),
    ],
)
def test_bad_landmarks_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=rf"{path}: .*({message})"):
        landmarks.read_landmarks(path)


def test_written_landmarks_come_back_to_the_last_bit(tmp_path):
    written = {"a/1.jpg": tuple(np.random.default_rng(1).normal(50, 30, 10).tolist()), 'ü "x", y.png': (1e-9,) * 10}
    landmarks.write_landmarks(tmp_path / "marks.csv", written)
    assert landmarks.read_landmarks(tmp_path / "marks.csv") == written
