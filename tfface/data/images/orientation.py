"""The EXIF orientation of photographs: how the camera was held when the stored pixels were taken.

Every reader of photographs turns them upright, as viewers and OpenCV do. Landmarks are in the frame of the upright
photograph. The eight values are those of the EXIF standard: 1 is upright, 3, 6 and 8 are turned by 180°, 90° and 270°,
and 2, 4, 5 and 7 are also flipped.
"""

import io

import tensorflow as tf
from PIL import Image

# In JPEG files an APP1 segment begins with these bytes; in PNG files a chunk has this name.
_EXIF, _CHUNK = b"Exif\0\0", b"eXIf"
_LIMIT = 1 << 10  # Segments or chunks before the one with EXIF, and entries of its table.
_TAG = 0x0112


def upright(data: bytes, decode, max_pixels: int) -> bytes:
    """Returns an encoded photograph whose pixels are upright; other bytes, also damaged ones, are returned as given.

    A turned JPEG file is encoded again with quality 95 and without chroma subsampling; a PNG file keeps its pixels.

    Args:
      data: bytes of a JPEG or PNG file.
      decode: function from the bytes to the stored pixels, uint8 [H, W, 3].
      max_pixels: largest number of pixels to decode; larger images are returned as given.
    """
    if _EXIF not in data and _CHUNK not in data:
        return data  # Reading the header takes longer.
    turn = int(_eager_orientation(tf.constant(data)))
    if turn == 1:
        return data
    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            kind, fits = image.format, image.width * image.height <= max_pixels
        if not fits:
            return data
        pixels = Image.fromarray(apply_orientation(decode(data), tf.constant(turn)).numpy())
    except Exception:  # Pillow and TensorFlow raise many types for damaged files; `check_image` names the damage.
        return data
    pixels.save(buffer, "PNG") if kind == "PNG" else pixels.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def apply_orientation(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns stored pixels upright; a graph function.

    Args:
      pixels: [H, W, C].
      orientation: int32 [], from 1 to 8.

    Returns:
      [H, W, C], or [W, H, C] for orientations from 5.
    """
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: tf.identity(pixels))
    up_down, left_right = [tf.reduce_any(orientation == values) for values in ([3, 4, 7, 8], [2, 3, 6, 7])]
    axes = tf.boolean_mask([0, 1], tf.stack([up_down, left_right]))
    return tf.reverse(pixels, axes)


def read_orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the EXIF orientation of an encoded image; a graph function.

    Args:
      data: string [], the bytes of a JPEG or PNG file; other bytes, also damaged ones, are harmless.

    Returns:
      int32 [], from 1 to 8; 1 if the file has none.
    """
    # Most images have no EXIF. RE2 knows that in a fraction of the time that the loops take.
    has_exif = tf.strings.regex_full_match(data, r"\C*(Exif\x00\x00|eXIf)\C*")
    return tf.cond(has_exif, lambda: _find_orientation(data), lambda: tf.constant(1))


def _find_orientation(data):
    # Zeros follow, so that every number can be read without asking whether the file ends before.
    padded = tf.cast(tf.io.decode_raw(tf.strings.join([data, b"\0" * 16]), tf.uint8), tf.int64)
    end = tf.cast(tf.strings.length(data), tf.int64)
    is_png = padded[0] == 0x89
    start = tf.cond(is_png, lambda: _png_exif(padded, end), lambda: _jpeg_exif(padded, end))
    return tf.cond(start > 0, lambda: _in_table(padded, end, start), lambda: tf.constant(1))


def _number(values, place, end, size, big):
    """Returns the unsigned number of `size` bytes at a place, 0 beyond the end."""
    place = tf.clip_by_value(place, 0, end)
    digits = values[place : place + size]
    digits = tf.cond(big, lambda: digits, lambda: digits[::-1])
    return tf.reduce_sum(digits * tf.constant([256**power for power in reversed(range(size))], tf.int64))


def _is(values, place, end, text):
    place = tf.clip_by_value(place, 0, end)
    found = values[place : place + len(text)]
    return tf.reduce_all(found == tf.constant(list(text), tf.int64)) & (place + len(text) <= end)


def _png_exif(values, end):
    """Returns the place of the TIFF header in a PNG file, 0 if there is none."""
    big = tf.constant(True)

    def is_other(place):
        return (place < end) & ~_is(values, place + 4, end, _CHUNK)

    def following(place):
        return [place + 12 + _number(values, place, end, 4, big)]

    (place,) = tf.while_loop(is_other, following, [tf.constant(8, tf.int64)], maximum_iterations=_LIMIT)
    return tf.where(_is(values, place + 4, end, _CHUNK), place + 8, tf.zeros_like(place))


def _jpeg_exif(values, end):
    """Returns the place of the TIFF header in a JPEG file, 0 if there is none before the pixels."""
    big = tf.constant(True)

    def is_exif(place):
        return _is(values, place, end, b"\xff\xe1") & _is(values, place + 4, end, _EXIF)

    def is_other(place):
        marker = _number(values, place + 1, end, 1, big)
        is_segment = (_number(values, place, end, 1, big) == 0xFF) & (marker != 0xDA) & (marker != 0xD9)
        return (place < end) & is_segment & ~is_exif(place)

    def following(place):
        # A marker may be preceded by further bytes FF.
        is_fill = _number(values, place + 1, end, 1, big) == 0xFF
        length = _number(values, place + 2, end, 2, big)
        return [place + tf.where(is_fill, tf.ones_like(place), 2 + length)]

    (place,) = tf.while_loop(is_other, following, [tf.constant(2, tf.int64)], maximum_iterations=_LIMIT)
    return tf.where(is_exif(place), place + 4 + len(_EXIF), tf.zeros_like(place))


def _in_table(values, end, start):
    """Returns the orientation in the first table after a TIFF header."""
    big = _is(values, start, end, b"MM\0*")
    is_tiff = big | _is(values, start, end, b"II*\0")
    table = start + _number(values, start + 4, end, 4, big)
    count = tf.minimum(_number(values, table, end, 2, big), _LIMIT)

    def is_other(index):
        return (index < count) & (_number(values, table + 2 + 12 * index, end, 2, big) != _TAG)

    (index,) = tf.while_loop(is_other, lambda index: [index + 1], [tf.constant(0, tf.int64)])
    entry = table + 2 + 12 * index
    is_short = _number(values, entry + 2, end, 2, big) == 3
    value = _number(values, entry + 8, end, 2, big)
    known = is_tiff & (index < count) & is_short & (value >= 1) & (value <= 8)
    return tf.cast(tf.where(known, value, tf.ones_like(value)), tf.int32)


_eager_orientation = tf.function(read_orientation, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
