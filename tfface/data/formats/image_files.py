"""Files that may be images: their extensions, largest size and signatures."""

import os

from tfface.files import Unreadable, read_regular

JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXTENSIONS = (".jpg", ".jpeg", ".png")
# Each thread holds four of them. 64 megapixels take less as JPEG, and as PNG unless they are noise.
MAX_IMAGE_BYTES = 1 << 26
SIGNATURE_BYTES = 8

_SUFFIXES = ((JPEG_SIGNATURE, ".jpg"), (PNG_SIGNATURE, ".png"))


def image_suffix(head: bytes) -> str:
    """Returns ".jpg", ".png" or, for anything else, "" from the first `SIGNATURE_BYTES` of a file."""
    return next((suffix for signature, suffix in _SUFFIXES if head.startswith(signature)), "")


def read_image_file(path: str | os.PathLike) -> bytes:
    """Returns the bytes of a file.

    Raises:
      ValueError: if it is not a regular file, or too large for an image; the message is a reason without the name.
      OSError: if it cannot be read.
    """
    try:
        return read_regular(path, MAX_IMAGE_BYTES)
    except Unreadable as error:
        raise ValueError(error.reason) from None


def check_image_bytes(count: int) -> None:
    """Raises ValueError if there are more bytes than an image may have; the message is a reason without a name."""
    if count > MAX_IMAGE_BYTES:
        raise ValueError(f"larger than {MAX_IMAGE_BYTES >> 20} MB")
