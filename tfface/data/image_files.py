"""Files that may be images: what they are called, how large they may be, and what they are by their first bytes."""

import os
import stat

EXTENSIONS = (".jpg", ".jpeg", ".png")
MAX_IMAGE_BYTES = 1 << 28
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
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("not a file")
    if found.st_size > MAX_IMAGE_BYTES:
        raise ValueError(f"larger than {MAX_IMAGE_BYTES >> 20} MB")
    with open(path, "rb") as file:
        return file.read(found.st_size)
