"""Files that are either complete or absent, and their hashes."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile

from tfface import interrupts


def write_atomically(path, data):
    """Writes bytes to a temporary file beside `path`, then renames it."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path beside `path`, which takes its place when the block ends without an error.

    The block writes a file, or makes a folder, at the temporary path. After an error nothing is left of it.

    Args:
      path: of the file or folder to be made. A file is replaced; a folder must not exist.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _remove(temporary)
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
            where = {} if beside is None else {"prefix": f".{beside.name}.", "dir": beside.parent}
            folder = pathlib.Path(tempfile.mkdtemp(**where))
            stack.callback(_remove_held, folder)
        yield folder


def sha256(path):
    """Hashes the content of a file, however large: SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _remove_held(path):
    with interrupts.held():
        _remove(path)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
