"""One owner of a folder at a time: a process that writes into it, until it ends."""

import contextlib
import datetime
import errno
import json
import os
import pathlib
import socket

try:
    import fcntl
except ImportError:  # Windows has no such locks; there the file's content alone decides.
    fcntl = None

FILE = ".owner"

# Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_MAX_BYTES = 4096


@contextlib.contextmanager
def owned(folder: str | os.PathLike, name: str = FILE, steal: bool = False, remedy: str = ""):
    """Owns a folder, or what has this name in it, within a block.

    A file names host, process and time, and the operating system locks it: the lock ends with its process, however that
    ends. An owner on another host cannot be seen to have ended, nor can any owner on a file system without locks: then
    `steal` says that it has.

    Args:
      folder: made if absent, and removed again if nothing came into it.
      name: of the file.
      steal: whether the folder is taken from an owner whose end cannot be seen.
      remedy: what the message names to do about such an owner, such as "--steal_lock takes it over".

    Raises:
      ValueError: the folder has another owner; names its host, process and start.
      OSError: the folder cannot be written.
    """
    path = pathlib.Path(folder) / name
    with contextlib.ExitStack() as stack:
        file, locked = _open_locked(path, stack)
        other = _read(file)
        if locked is None:
            raise ValueError(f"{folder} is in use by {_describe(other)}: wait for it, or end it first.")
        here = locked and other.get("host") == socket.gethostname()
        if other and not here and not steal:
            raise ValueError(
                f"{folder} is in use by {_describe(other)}, which cannot be seen from here. "
                f"If it has ended, {remedy or f'remove {path}'}."
            )
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        _write(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now}))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _open_locked(path, stack):
    """Opens the file at a path; returns it with what `_lock` says."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = stack.enter_context(path.open("a+", encoding="utf-8"))
        except FileNotFoundError:  # An owner that ended just then took the folder with it.
            continue
        locked = _lock(file)
        # An owner that ended meanwhile has removed the file: nobody else would find this one.
        if locked is None or _is_at(path, file):
            return file, locked


def _is_at(path, file):
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file):
    """Returns True where the file is locked now, None where another process has it, False where nothing has locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _read(file):
    file.seek(0)
    try:
        owner = json.loads(file.read(_MAX_BYTES) or "{}")
    except ValueError:
        owner = None
    # A half-written file is of an owner that ended just then.
    return owner if isinstance(owner, dict) else {}


def _write(file, text):
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _describe(owner):
    if not owner:
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"
