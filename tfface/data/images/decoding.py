"""Checking encoded face images, and decoding them into the input of a network."""

import io
import numbers
from typing import TypeAlias

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from tfface.data.formats.image_files import JPEG_SIGNATURE, PNG_SIGNATURE, check_image_bytes, image_format
from tfface.data.images import orientation
from tfface.files import short_reason

MAX_PIXELS = 64_000_000

# A side, or (height, width), in pixels.
ImageSize: TypeAlias = int | tuple[int, int]

_PNG_START = PNG_SIGNATURE + b"\0\0\0\rIHDR"  # The first chunk is always the header, of 13 bytes.


def open_image(data: bytes) -> Image.Image:
    """Opens an encoded JPEG or PNG image; Pillow reads its header now and its pixels later.

    Raises:
      PIL.UnidentifiedImageError: if the bytes are of another format; damaged ones raise many other types.
    """
    return Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))


def check_image(data: bytes) -> tuple[int, int]:
    """Checks that encoded bytes are one complete JPEG or PNG image that training can decode.

    The content decides the format. CMYK, grey, palette and 16-bit images are accepted: TensorFlow decodes them to
    8-bit RGB. Transparency is ignored, and so is the EXIF orientation, which `upright` applies.

    Args:
      data: bytes of the image file.

    Returns:
      (height, width) in pixels.

    Raises:
      ValueError: if the bytes are anything else; the message is a reason without a file name.
    """
    check_image_bytes(len(data))
    try:
        with open_image(data) as image:
            # Opening reads only the header, so an image bomb is refused before its pixels need memory.
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if image.format == "PNG" and image.is_animated:
                raise ValueError("an animation, not a single picture")
            image.load()  # Pillow reports what is wrong; libjpeg inside TensorFlow would write to stderr, past Python.
            size = image.height, image.width
    except UnidentifiedImageError:
        other = image_format(data) if data else "an empty file"
        raise ValueError(f"not a JPEG or PNG image{other and f' but {other}'}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PIXELS // 10**6} megapixels") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow raises many types for damaged files: OSError, SyntaxError, struct.error, ...
        raise ValueError(f"a damaged image ({short_reason(error)})") from error
    try:
        # Pillow accepts damage that TensorFlow does not, such as a PNG without its end.
        decode_pixels(data)
    except tf.errors.OpError as error:
        raise ValueError("a damaged image (TensorFlow cannot decode it)") from error
    return size


def ensure_image(data: tf.Tensor) -> tf.Tensor:
    """Checks, when run, that an untrusted encoded image is safe to decode; a graph function.

    Servers need it: the decoder would also accept GIF and WebP, and reserve memory for any size that a header claims.
    Training does not: `check_image` has checked its images, and this takes about 30 microseconds per image, a quarter
    of the time of decoding.

    Args:
      data: string [], the bytes of a JPEG or PNG file.

    Returns:
      `data`, if it starts like a JPEG or PNG file and claims at most MAX_PIXELS.

    Raises:
      tf.errors.InvalidArgumentError: when run, otherwise; the message is a reason.
    """
    start = tf.io.decode_raw(data, tf.uint8, fixed_length=24)  # Zeros follow a shorter one.
    is_png = tf.reduce_all(start[: len(_PNG_START)] == tf.constant(list(_PNG_START), tf.uint8))
    is_jpeg = tf.reduce_all(start[: len(JPEG_SIGNATURE)] == tf.constant(list(JPEG_SIGNATURE), tf.uint8))
    pixels = tf.cond(is_jpeg, lambda: _jpeg_pixels(data), lambda: _number(start[16:20]) * _number(start[20:24]))
    is_empty, is_known = tf.strings.length(data) == 0, is_png | is_jpeg
    # At most one of them fails, because otherwise chance would decide which reason is reported.
    checks = [
        tf.debugging.Assert(~is_empty, ["the image is empty"]),
        tf.debugging.Assert(is_known | is_empty, ["not a JPEG or PNG image"]),
        tf.debugging.Assert((pixels <= MAX_PIXELS) | ~is_known, [f"more than {MAX_PIXELS // 10**6} megapixels"]),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(data)


def _jpeg_pixels(data):
    """Returns the largest number of pixels, float64, that any start of frame in a JPEG file claims."""
    # In older releases `tf.io.extract_jpeg_shape` starts decoding. That may take the very memory at stake, and leak it
    # on failure. So this finds every position that a decoder could take for a start of frame: FF Cx, length, precision,
    # height, width, components. The length must be 8 + 3 * components, which hardly ever occurs by accident.
    everything = tf.io.decode_raw(tf.strings.join([data, b"\0" * 9]), tf.uint8)
    places = tf.where((everything[:-9] == 0xFF) & (tf.bitwise.right_shift(everything[1:-8], 4) == 0xC))
    frames = tf.gather(everything, places + tf.range(2, 10, dtype=tf.int64))
    components = tf.cast(frames[:, 7], tf.float64)
    plausible = (_number(frames[:, :2]) == 8 + 3 * components) & (frames[:, 2] <= 16)
    pixels = _number(frames[:, 3:5]) * _number(frames[:, 5:7])
    return tf.reduce_max(tf.cast(plausible, tf.float64) * pixels)


def _number(digits):
    """Converts big-endian bytes [..., n] to numbers, float64 [...]."""
    values = [256.0**place for place in reversed(range(digits.shape[-1]))]
    return tf.reduce_sum(tf.cast(digits, tf.float64) * values, axis=-1)


def upright(data: bytes) -> bytes:
    """Returns the bytes of a photograph without an EXIF orientation, turned and encoded again if it had one.

    Sources of files apply it to what they read, so records hold upright pixels. A JPEG file is encoded again with
    quality 95 and without chroma subsampling; a PNG file keeps its pixels. Damaged files are returned as they are.

    Args:
      data: bytes of a JPEG or PNG file.
    """
    return orientation.upright(data, decode_pixels, MAX_PIXELS)


def decode_pixels(data: tf.Tensor, upright: bool = False) -> tf.Tensor:
    """Decodes an encoded image in its own size; a graph function.

    Args:
      data: string [], the bytes of a JPEG or PNG file.
      upright: whether to apply the EXIF orientation. Records need it not, because their images are upright.

    Returns:
      uint8 [H, W, 3], RGB; equal to the pixels of Pillow (accurate integer DCT).
    """
    # Despite its name this op also reads PNG. Unlike `tf.io.decode_image` it offers the accurate DCT.
    pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return orientation.apply_orientation(pixels, orientation.read_orientation(data)) if upright else pixels


def decode_image(data: tf.Tensor, image_size: ImageSize, upright: bool = False) -> tf.Tensor:
    """Decodes an encoded image into network input; a pure graph function, the same in training, evaluation and export.

    Pixels are those of `decode_pixels`. An image of another size is resized bilinearly with antialiasing; its aspect
    ratio is not kept.

    Args:
      data: string [], the bytes of a JPEG or PNG file.
      image_size: side S or (height, width) of the result, in pixels.
      upright: whether to apply the EXIF orientation, as for `decode_pixels`.

    Returns:
      float32 [height, width, 3], RGB in [-1, 1]: (x - 127.5) / 127.5 of the 8-bit value x.

    Raises:
      ValueError: if `image_size` is not positive.
    """
    return network_input(decode_pixels(data, upright), image_size)


def network_input(pixels: tf.Tensor, image_size: ImageSize) -> tf.Tensor:
    """Makes network input of pixels, uint8 [H, W, 3], as `decode_image` does; a graph function."""
    height, width = size_pair(image_size)
    image = tf.cond(
        tf.reduce_all(tf.shape(pixels)[:2] == [height, width]),
        lambda: tf.cast(pixels, tf.float32),
        lambda: tf.image.resize(pixels, [height, width], antialias=True),
    )
    image.set_shape([height, width, 3])
    return normalize(image)


def normalize(pixels: tf.Tensor) -> tf.Tensor:
    """Maps pixels in [0, 255], of any shape and type, to float32 in [-1, 1]; a graph function."""
    # Graph optimisation turns a division into a product, which would then differ from eager mode by a rounding.
    return (tf.cast(pixels, tf.float32) - 127.5) * (1 / 127.5)


def size_pair(image_size: ImageSize) -> tuple[int, int]:
    """Returns `image_size`, a side or (height, width), as (height, width).

    Raises:
      ValueError: if it is neither, or not positive.
    """
    pair = tuple(image_size) if isinstance(image_size, list | tuple) else (image_size, image_size)
    if len(pair) != 2 or not all(isinstance(side, numbers.Integral) and side > 0 for side in pair):
        raise ValueError(f"`image_size` must be a positive side or (height, width), got {image_size!r}.")
    return pair
