"""Files that are written whole or not at all, and files that others named, which are read within bounds."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator

from tfface import interrupts

# Opening a FIFO must not wait for its writer, and a terminal must not become that of the process.
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_MAX_REASON = 400  # Characters of what a library says.


class Unreadable(ValueError):
    """A file that cannot be read, or must not be.

    Args:
      path: of the file.
      reason: str, why; also an attribute, for messages that name the file themselves.
    """

    def __init__(self, path: str | os.PathLike, reason):
        super().__init__(f"{path}: {reason}.")
        self.reason = reason


def short_reason(error: BaseException) -> str:
    """Returns the first line of an error's message, cut off: libraries quote the whole text that they cannot read."""
    line = str(error).partition("\n")[0]
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}..."


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Writes bytes to a temporary file beside `path`, then renames it."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, which takes its place when the block ends without an error.

    The block writes a file, or makes a folder, at the temporary path. After an error nothing is left of it.

    Args:
      path: of the file or folder to be made. A file is replaced; a folder must not exist.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _unfinished(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # Not the temporary name, nor none at all, as when a write finds the disk full.
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        _remove_held(temporary)


@contextlib.contextmanager
def temporary_folder(beside=None):
    """Yields a new folder, and removes it with all that is in it when the block ends, however it ends.

    Args:
      beside: path of a file or folder in whose directory it is made, hidden and with a like name; None: wherever the
        system keeps temporary files.
    """
    with contextlib.ExitStack() as stack:
        with interrupts.held():
            if beside is None:
                folder = pathlib.Path(tempfile.mkdtemp())
            else:
                folder = _unfinished(beside)
                folder.mkdir(parents=True)
            stack.callback(_remove_held, folder)
        yield folder


def _unfinished(path):
    """Returns a hidden name beside a path that is of this process, and removes what dead processes left there."""
    host = socket.gethostname()
    start, end = f".{path.name}.{host}-", ".partial"
    if path.parent.is_dir():
        # Only names of this host: the processes of others cannot be seen.
        for other in path.parent.iterdir():
            process = other.name.removeprefix(start).removesuffix(end)
            if other.name == f"{start}{process}{end}" and process.isdigit() and not _is_alive(int(process)):
                _remove(other)
    return path.with_name(f"{start}{os.getpid()}{end}")


def _is_alive(process):
    if os.name != "posix":
        return True  # To ask would end it.
    if process == os.getpid():
        return False  # Left by this process, or by an earlier one of the same number.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def open_regular(path: str | os.PathLike, limit: int | None = None):
    """Opens a regular file for reading bytes.

    A FIFO would wait for ever, and a device may have no end.

    Args:
      path: of the file, or of a link to it.
      limit: int, the most bytes that it may have; None: any number.

    Returns:
      Binary file object, to be closed by the caller.

    Raises:
      Unreadable: (a ValueError) if it is something else, or larger.
      OSError: if it cannot be opened.
    """
    path = os.fspath(path)
    if "\0" in path:
        raise Unreadable(repr(path), "a name of a file has no zero character")
    descriptor = os.open(path, _READ_ONLY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable(path, "not a regular file")
        if limit is not None and found.st_size > limit:
            raise Unreadable(path, f"expected at most {_readable(limit)}, got {_readable(found.st_size)}")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike, limit: int) -> bytes:
    """Returns the bytes of a regular file that has at most `limit` of them; raises as `open_regular` does."""
    with open_regular(path, limit) as file:
        # No more than it has now: that much memory is reserved, and the file may be growing.
        data = file.read(os.fstat(file.fileno()).st_size + 1)
    if len(data) > limit:
        raise Unreadable(path, f"expected at most {_readable(limit)}, got more")
    return data


def sha256(path: str | os.PathLike) -> str:
    """Hashes the content of a file, however large: SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _remove_held(path):
    with interrupts.held():
        _remove(path)


def _readable(count):
    return f"{count >> 20} MB" if count >= 1 << 20 and count % (1 << 20) == 0 else f"{count} bytes"


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
