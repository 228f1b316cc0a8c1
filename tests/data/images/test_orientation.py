"""EXIF orientation, against Pillow's own transposition."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfface.data.images import decoding, orientation
from tfface.data.images.alignment import align, align_image

KINDS = ("JPEG", "PNG")
ORDERS = ("<", ">")
STRING = [tf.TensorSpec([], tf.string)]
# Traced once, because eager loops take long.
READ = tf.function(orientation.read_orientation, input_signature=STRING)
DECODE = tf.function(lambda data: decoding.decode_pixels(data, upright=True), input_signature=STRING)


def photograph(kind, value, order="<", shape=(40, 64, 3), **options):
    """Smooth pixels that differ in every direction, with an EXIF orientation."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([3 * y, 3 * x, y + x], axis=-1)[..., : shape[2]].astype(np.uint8)
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "a camera"
    exif[0x0112] = value
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


def expected(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", range(0, 11))
def test_all_values_are_applied_as_pillow_applies_them(kind, value, order):
    data = photograph(kind, value, order)
    assert int(READ(data)) == (value if 1 <= value <= 8 else 1)
    np.testing.assert_array_equal(DECODE(data), expected(data))
    again = decoding.upright(data)
    if value in range(2, 9):
        assert int(READ(again)) == 1
        assert np.abs(decoding.decode_pixels(again).numpy().astype(int) - expected(data)).max() <= (
            0 if kind == "PNG" else 6
        )
        assert decoding.check_image(again) == expected(data).shape[:2]
    else:
        assert again == data


def with_xmp(kind, data, text):
    """Puts XMP into a file: an APP1 segment, or an iTXt chunk before the pixels."""
    if kind == "JPEG":
        packet = b"http://ns.adobe.com/xap/1.0/\0" + text.encode()
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + data[2:]
    body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("form", ['<x tiff:Orientation="{}"/>', "<tiff:Orientation>{}</tiff:Orientation> Exif"])
@pytest.mark.parametrize("kind", KINDS)
def test_xmp_counts_where_exif_says_nothing_as_in_pillow(kind, form):
    buffer = io.BytesIO()
    Image.fromarray(np.arange(40 * 64 * 3, dtype=np.uint8).reshape(40, 64, 3)).save(buffer, kind)
    for value in range(10):
        data = with_xmp(kind, buffer.getvalue(), form.format(value))
        assert int(READ(data)) == (value if 1 <= value <= 8 else 1)
        np.testing.assert_array_equal(DECODE(data), expected(data))
        again = decoding.upright(data)
        assert int(READ(again)) == 1 and decoding.check_image(again) == expected(data).shape[:2]
        for of_exif in (1, 3):
            assert int(READ(with_xmp(kind, photograph(kind, of_exif), form.format(value)))) == of_exif


@pytest.mark.parametrize("order", ORDERS)
def test_integers_of_all_types_count_as_in_pillow(order):
    data = photograph("JPEG", 6, order)
    short = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)
    assert data.count(short) == 1
    read = {}
    for kind, value in ((1, "Bxxx"), (2, "Bxxx"), (3, "Hxx"), (4, "I"), (7, "Bxxx"), (8, "hxx"), (9, "i")):
        changed = data.replace(short, struct.pack(f"{order}HHI{value}", 0x0112, kind, 1, 6))
        read[kind] = int(READ(changed))
        np.testing.assert_array_equal(DECODE(changed), expected(changed))
    assert {kind for kind, value in read.items() if value == 6} == {3, 4, 8, 9}


def test_other_segments_do_not_hide_the_orientation():
    for options in ({"comment": b"Exif\0\0"}, {"icc_profile": bytes(70_000)}, {"progressive": True}):
        data = photograph("JPEG", 6, **options)
        assert int(READ(data)) == 6
    jpeg = photograph("JPEG", 8)
    assert int(READ(jpeg[:2] + b"\xff\xff" + jpeg[2:])) == 8
    # A thumbnail's own EXIF, or the words within pixels or comments, do not count.
    plain = photograph("JPEG", 1)
    assert int(READ(plain + jpeg)) == 1
    assert decoding.upright(plain + jpeg) == plain + jpeg


@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_is_harmless_and_agrees_with_pillow_on_whole_files(kind):
    data = photograph(kind, 6)
    place = data.index(b"II*\0") if b"II*\0" in data else data.index(b"MM\0*")
    rng = np.random.default_rng(0)
    for trial in range(300):
        damaged = bytearray(data)
        if trial % 3:
            for position in rng.integers(0, place + 40, 3):
                damaged[position] = rng.integers(256)
        else:
            del damaged[rng.integers(len(damaged)) :]
        assert int(READ(bytes(damaged))) in range(1, 9)
        decoding.upright(bytes(damaged))


def test_a_large_image_is_not_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100)
    data = photograph("PNG", 6)
    assert decoding.upright(data) == data


def test_alignment_of_a_file_is_in_the_upright_frame():
    data = photograph("PNG", 6, shape=(120, 160, 3))
    landmarks = np.array([[40, 60], [80, 58], [60, 80], [45, 105], [78, 104]], np.float32)
    found = align_image(tf.constant(data), landmarks).numpy().astype(int)
    assert np.abs(found - align(expected(data), landmarks)).max() <= 1
