"""Files that may be images: their extensions, largest size and signatures."""

import os

from tfface.files import Unreadable, read_regular

JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png")
# Extensions of pictures that are not read: they are named, not passed over like other files.
OTHER_PICTURES = (
    *(".apng", ".arw", ".avif", ".bmp", ".bpg", ".cr2", ".cr3", ".dib", ".dng", ".emf", ".eps", ".exr", ".gif"),
    *(".hdr", ".heic", ".heif", ".hif", ".ico", ".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx", ".jxl", ".mpo"),
    *(".nef", ".orf", ".pam", ".pbm", ".pcx", ".pfm", ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".raf", ".raw"),
    *(".rgb", ".rw2", ".sgi", ".svg", ".tga", ".tif", ".tiff", ".webp", ".wmf", ".xbm", ".xpm"),
)
# Each thread holds four of them. 64 megapixels take less as JPEG, and as PNG unless they are noise.
MAX_IMAGE_BYTES = 1 << 26
SIGNATURE_BYTES = 8

_SUFFIXES = ((JPEG_SIGNATURE, ".jpg"), (PNG_SIGNATURE, ".png"))


def image_suffix(head: bytes) -> str:
    """Returns ".jpg", ".png" or, for anything else, "" from the first `SIGNATURE_BYTES` of a file."""
    return next((suffix for signature, suffix in _SUFFIXES if head.startswith(signature)), "")


def without_extension(name: str) -> str:
    """Returns the name of a picture without its extension; other names are returned as they are."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in (*EXTENSIONS, *OTHER_PICTURES) else name


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
