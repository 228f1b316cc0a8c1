"""EXIF orientation, against Pillow's own transposition."""

import io

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
