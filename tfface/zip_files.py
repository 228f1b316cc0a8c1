"""Untrusted zip archives: the size that they claim is bounded by the size that they have."""

import os
import struct
import zipfile
import zlib

from tfface.files import Unreadable, short_reason

# Deflate reaches 1000 on zeros. Names in UTF-32 that resemble each other reach 40.
MAX_RATIO = 100

# Exceptions of zipfile while it reads a member.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError)


def open_archive(path: str | os.PathLike, file):
    """Opens a zip archive of which all members may be read whole.

    Args:
      path: of the archive, for messages.
      file: the archive, open for reading bytes.

    Returns:
      zipfile.ZipFile: its members are stored or deflated, and claim no more bytes than the file can hold.

    Raises:
      ValueError: it is not such an archive.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (*DAMAGED, ValueError, OSError) as error:
        raise Unreadable(path, f"not a zip archive ({short_reason(error)})") from error
    size = os.fstat(file.fileno()).st_size
    total = 0
    for info in archive.infolist():
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise Unreadable(
                path, f"{info.filename[:200]!r} is encrypted, or compressed by another method than deflate"
            )
        total += info.compress_size
        if total > size or info.file_size > MAX_RATIO * info.compress_size:
            raise Unreadable(path, f"{info.filename[:200]!r} claims {info.file_size} bytes, of a file of {size}")
    return archive
