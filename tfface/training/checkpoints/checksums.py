"""Checksums of a checkpoint's files, which show whether it is whole before any of it is used."""

import functools
import json
import os
import pathlib

import google_crc32c
import tensorflow as tf

from tfface import json_files
from tfface.json_files import COUNT

FILE = "checksums.json"

_FORM = {"version": COUNT, "files": {str: {"bytes": COUNT, "crc32c": str}}}

_MAX_BYTES = 1 << 24
_BLOCK = 1 << 22


def write_checksums(folder: pathlib.Path) -> None:
    """Writes the size and the CRC-32C of every file of a folder into its `checksums.json`."""
    files = {path.name: _describe(path) for path in sorted(folder.iterdir()) if path.name != FILE}
    (folder / FILE).write_text(json.dumps({"version": 1, "files": files}, indent=1) + "\n")


def find_damage(folder: pathlib.Path) -> str | None:
    """Compares a checkpoint with its checksums; TensorFlow checks one of release 0.1, which has no file of them.

    Returns:
      str, a clause that names the file and what is wrong, or None.
    """
    try:
        stats = {path.name: path.stat() for path in sorted(folder.iterdir())}
    except OSError as error:
        return f"it cannot be listed ({error.strerror})"
    return _find_damage(
        folder, tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items())
    )


@functools.lru_cache(maxsize=64)
def _find_damage(folder, state):
    # Programs ask for the newest checkpoint several times; its gigabytes are read again only if they have changed.
    if not (folder / FILE).exists():
        return _find_damage_by_tensorflow(folder)
    try:
        expected = json_files.read(folder / FILE, _FORM, _MAX_BYTES)["files"]
        for name, description in expected.items():
            if os.path.basename(name) != name:
                return f"{FILE} names {name!r}, which is not in the folder"
            if not (folder / name).is_file():
                return f"{name} is missing"
            found = _describe(folder / name)
            if found["bytes"] != description["bytes"]:
                return f"{name} has {found['bytes']} bytes instead of {description['bytes']}"
            if found != description:
                return f"{name} does not match its checksum"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except ValueError:
        return f"{FILE} is damaged"
    return None


def _describe(path):
    checksum, size = 0, 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            checksum, size = google_crc32c.extend(checksum, block), size + len(block)
    return {"bytes": size, "crc32c": f"{checksum:08x}"}


def _find_damage_by_tensorflow(folder):
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables"))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        return str(error).strip().splitlines()[0]
    return None
