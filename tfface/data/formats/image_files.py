"""Files that may be images: their extensions, largest size and signatures."""

import os

from tfface.files import Unreadable, read_regular

JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png")
# Extensions of pictures that are not read: they are named, not passed over like other files.
OTHER_PICTURES = (
    *(".apng", ".arw", ".avif", ".avifs", ".blp", ".bmp", ".bpg", ".bw", ".cr2", ".cr3", ".cur", ".dcx", ".dds"),
    *(".dib", ".dng", ".emf", ".eps", ".exr", ".flc", ".fli", ".ftc", ".ftu", ".gbr", ".gif", ".hdr", ".heic"),
    *(".heif", ".hif", ".icb", ".icns", ".ico", ".iim", ".im", ".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    *(".jxl", ".mpo", ".msp", ".nef", ".orf", ".pam", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".pnm", ".ppm"),
    *(".psd", ".pxr", ".qoi", ".raf", ".ras", ".raw", ".rgb", ".rgba", ".rw2", ".sgi", ".svg", ".tga", ".tif"),
    *(".tiff", ".vda", ".vst", ".webp", ".wmf", ".xbm", ".xpm"),
)
# Each thread holds four of them. 64 megapixels take less as JPEG, and as PNG unless they are noise.
MAX_IMAGE_BYTES = 1 << 26
SIGNATURE_BYTES = 8
# Folders that systems and network drives make beside the pictures: copies, thumbnails and deleted files.
_SYSTEM_FOLDERS = {
    *("__macosx", "@eadir", "@recycle", "#recycle", "#snapshot"),
    *("$recycle.bin", "lost+found", "system volume information"),
}

_OTHER_FORMATS = (
    ("GIF", b"GIF8", 0),
    ("WebP", b"WEBP", 8),
    ("BMP", b"BM", 0),
    ("TIFF", b"II*\0", 0),
    ("TIFF", b"MM\0*", 0),
    ("AVIF", b"ftypavi", 4),
    ("HEIC", b"ftyphe", 4),
    ("HEIC", b"ftypmif1", 4),
    ("HEIC", b"ftypmsf1", 4),
    ("JPEG 2000", b"jP  ", 4),
    ("JPEG XL", b"\xff\x0a", 0),
    ("JPEG XL", b"JXL ", 4),
    ("Photoshop", b"8BPS", 0),
    ("a pointer of Git LFS", b"version https://git-lfs", 0),
)
_SUFFIXES = ((JPEG_SIGNATURE, ".jpg"), (PNG_SIGNATURE, ".png"))


def is_hidden(name: str) -> bool:
    """Whether the name of a file or folder, without its path, is that of a hidden one or of a system's own."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def is_image_name(name: str) -> bool:
    """Whether a name has the extension of a picture that is read.

    Raises:
      ValueError: it has that of another format of pictures; the message is a reason without the name.
    """
    extension = os.path.splitext(name)[1].lower()
    if extension in OTHER_PICTURES:
        raise ValueError(f"a {extension} picture; only JPEG and PNG are read")
    return extension in EXTENSIONS


def image_format(head: bytes) -> str:
    """Returns the name of the format of a file that is neither JPEG nor PNG, or "" if it is unknown."""
    text = head[:100].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    return next((name for name, start, place in _OTHER_FORMATS if head[place:].startswith(start)), "")


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
