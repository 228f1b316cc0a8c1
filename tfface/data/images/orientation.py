"""The EXIF orientation of photographs: how the camera was held when the stored pixels were taken.

Every reader of photographs turns them upright, as viewers and OpenCV do. Landmarks are in the frame of the upright
photograph. The eight values are those of the EXIF standard: 1 is upright, 3, 6 and 8 are turned by 180°, 90° and 270°,
and 2, 4, 5 and 7 are also flipped. Where EXIF says nothing, XMP's `tiff:Orientation` counts, as in Pillow.
"""

import functools
import io

import tensorflow as tf
from PIL import Image

# How the part of a file begins that holds EXIF or XMP: an APP1 segment in JPEG, a chunk with its name in PNG.
_JPEG_EXIF, _JPEG_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PNG_EXIF, _PNG_XMP = b"eXIf", b"iTXtXML:com.adobe.xmp\0"
_IN_XMP = b"tiff:Orientation"
_LIMIT = 1 << 10  # Segments or chunks before the one with EXIF, and entries of its table.
_TAG = 0x0112
_SHORTS, _LONGS = (3, 8), (4, 9)  # Types of an entry: unsigned and signed integers of two and of four bytes.


def upright(data: bytes, decode, max_pixels: int) -> bytes:
    """Returns an encoded photograph whose pixels are upright; other bytes, also damaged ones, are returned as given.

    A turned JPEG file is encoded again with quality 95 and without chroma subsampling; a PNG file keeps its pixels.

    Args:
      data: bytes of a JPEG or PNG file.
      decode: function from the bytes to the stored pixels, uint8 [H, W, 3].
      max_pixels: largest number of pixels to decode; larger images are returned as given.
    """
    if not any(word in data for word in (_JPEG_EXIF, _PNG_EXIF, _IN_XMP)):
        return data  # Reading the header takes longer.
    turn = int(read_orientation(tf.constant(data)))
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


# A function of its own, so that every graph that reads photographs has it once and none traces it again.
@functools.partial(tf.function, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def read_orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the EXIF orientation of an encoded image; a graph function.

    Args:
      data: string [], the bytes of a JPEG or PNG file; other bytes, also damaged ones, are harmless.

    Returns:
      int32 [], from 1 to 8; 1 if the file has none.
    """
    # Most images have neither. RE2 knows that in a fraction of the time that the loops take.
    may_have = tf.strings.regex_full_match(data, r"\C*(Exif\x00\x00|eXIf|tiff:Orientation)\C*")
    return tf.cond(may_have, lambda: _find_orientation(data), lambda: tf.constant(1))


def _find_orientation(data):
    # Zeros follow, so that every number can be read without asking whether the file ends before.
    padded = tf.cast(tf.io.decode_raw(tf.strings.join([data, b"\0" * 64]), tf.uint8), tf.int64)
    end = tf.cast(tf.strings.length(data), tf.int64)
    is_png = padded[0] == 0x89

    def part(of_png, of_jpeg):
        return tf.cond(is_png, lambda: _png_chunk(padded, end, of_png), lambda: _jpeg_segment(padded, end, of_jpeg))

    def in_exif():
        start, length = part(_PNG_EXIF, _JPEG_EXIF)
        return tf.cond(length > 0, lambda: _in_table(padded, end, start), lambda: tf.constant(0))

    def in_xmp():
        start, length = part(_PNG_XMP, _JPEG_XMP)
        text = tf.strings.substr(data, tf.minimum(start, end), tf.minimum(length, end - tf.minimum(start, end)))
        value = tf.strings.regex_replace(text, r"^\C*?tiff:Orientation(?:=\"|>)([0-9])\C*$", r"\1")
        known = tf.strings.regex_full_match(value, "[1-8]")
        return tf.cond(known, lambda: tf.strings.to_number(value, tf.int32), lambda: tf.constant(1))

    found = in_exif()
    return tf.cond(found > 0, lambda: found, in_xmp)


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


def _png_chunk(values, end, text):
    """Returns the place and length of what follows a text, the name of a chunk and its start, in a PNG file.

    Both are 0 if no chunk begins with the text.
    """
    big = tf.constant(True)

    def is_other(place):
        return (place < end) & ~_is(values, place + 4, end, text)

    def following(place):
        return [place + 12 + _number(values, place, end, 4, big)]

    (place,) = tf.while_loop(is_other, following, [tf.constant(8, tf.int64)], maximum_iterations=_LIMIT)
    length = _number(values, place, end, 4, big) + 4 - len(text)
    return _if(_is(values, place + 4, end, text), place + 4 + len(text), length)


def _jpeg_segment(values, end, text):
    """Returns the place and length of what follows a text at the start of an APP1 segment in a JPEG file.

    Both are 0 if no such segment before the pixels begins with the text.
    """
    big = tf.constant(True)

    def is_wanted(place):
        return _is(values, place, end, b"\xff\xe1") & _is(values, place + 4, end, text)

    def is_other(place):
        marker = _number(values, place + 1, end, 1, big)
        is_segment = (_number(values, place, end, 1, big) == 0xFF) & (marker != 0xDA) & (marker != 0xD9)
        return (place < end) & is_segment & ~is_wanted(place)

    def following(place):
        # A marker may be preceded by further bytes FF.
        is_fill = _number(values, place + 1, end, 1, big) == 0xFF
        length = _number(values, place + 2, end, 2, big)
        return [place + tf.where(is_fill, tf.ones_like(place), 2 + length)]

    (place,) = tf.while_loop(is_other, following, [tf.constant(2, tf.int64)], maximum_iterations=_LIMIT)
    length = _number(values, place + 2, end, 2, big) - 2 - len(text)
    return _if(is_wanted(place), place + 4 + len(text), length)


def _if(found, place, length):
    zero = tf.zeros_like(place)
    return tf.where(found, place, zero), tf.where(found, tf.maximum(length, 0), zero)


def _in_table(values, end, start):
    """Returns the orientation in the first table after a TIFF header, 1 if it is not valid, 0 if there is none."""
    big = _is(values, start, end, b"MM\0*")
    is_tiff = big | _is(values, start, end, b"II*\0")
    table = start + _number(values, start + 4, end, 4, big)
    count = tf.minimum(_number(values, table, end, 2, big), _LIMIT)

    def is_other(index):
        return (index < count) & (_number(values, table + 2 + 12 * index, end, 2, big) != _TAG)

    (index,) = tf.while_loop(is_other, lambda index: [index + 1], [tf.constant(0, tf.int64)])
    entry = table + 2 + 12 * index
    kind = _number(values, entry + 2, end, 2, big)
    is_short, is_long = [tf.reduce_any(kind == tf.constant(kinds, tf.int64)) for kinds in (_SHORTS, _LONGS)]
    value = tf.where(is_long, _number(values, entry + 8, end, 4, big), _number(values, entry + 8, end, 2, big))
    is_valid = (is_short | is_long) & (value >= 1) & (value <= 8)
    found = tf.where(is_valid, value, tf.ones_like(value))
    return tf.cast(tf.where(is_tiff & (index < count), found, tf.zeros_like(found)), tf.int32)
