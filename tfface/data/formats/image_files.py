"""Files that may be images: what they are called, how large they may be, and what they are by their first bytes."""

from tfface.files import Unreadable, read_regular

EXTENSIONS = (".jpg", ".jpeg", ".png")
# Four per thread are in memory at a time. 64 megapixels take less as JPEG, and as PNG unless they are noise.
MAX_IMAGE_BYTES = 1 << 26
SIGNATURE_BYTES = 8

_SIGNATURES = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))


def image_suffix(head):
    """Returns ".jpg", ".png" or, for anything else, "" from the first `SIGNATURE_BYTES` of a file."""
    return next((suffix for signature, suffix in _SIGNATURES if head.startswith(signature)), "")


def read_image_file(path):
    """Returns the bytes of a file.

    Raises:
      ValueError: if it is no regular file or too large for an image; the message is a reason without the name.
      OSError: if it cannot be read.
    """
    try:
        return read_regular(path, MAX_IMAGE_BYTES)
    except Unreadable as error:
        raise ValueError(error.reason) from None


def check_image_bytes(count):
    """Raises ValueError, with a reason without a name, for more bytes than an image may have."""
    if count > MAX_IMAGE_BYTES:
        raise ValueError(f"larger than {MAX_IMAGE_BYTES >> 20} MB")
