"""State of a long measurement on the disk, so that an interrupted run goes on where it was."""

import hashlib
import io
import pathlib
import time

import numpy as np

from tfface import files, npz_files


class Checkpoint:
    """Named arrays in one file, saved from time to time.

    Args:
      path: of the file; None keeps nothing.
      seconds: least time between two saves.
      parts: arrays and other values that say which measurement this is; another one must not go on from the file.
    """

    def __init__(self, path, seconds, parts):
        self._path = None if path is None else pathlib.Path(path)
        self._seconds, self._saved = seconds, time.monotonic()
        if self._path is not None:
            digest = hashlib.blake2b(digest_size=16)
            for part in parts:
                digest.update(np.ascontiguousarray(part))
            self._key = np.frombuffer(digest.digest(), np.uint8)

    def load(self):
        """The saved arrays, an empty dict if there are none.

        Raises:
          ValueError: if the file is of another measurement or not a checkpoint.
        """
        if self._path is None or not self._path.exists():
            return {}
        try:
            arrays = npz_files.read_npz(self._path)
        except ValueError as error:
            raise ValueError(f"{self._path}: not a checkpoint of a measurement ({error}).") from None
        if not np.array_equal(arrays.pop("key", None), self._key):
            raise ValueError(f"{self._path}: a checkpoint of another measurement; remove it or name another file.")
        return arrays

    def save(self, arrays):
        """Saves the dict of arrays that the function `arrays` returns, if the last save is long enough ago."""
        if self._path is None or time.monotonic() - self._saved < self._seconds:
            return
        buffer = io.BytesIO()
        np.savez(buffer, key=self._key, **arrays())
        files.write_atomically(self._path, buffer.getvalue())
        self._saved = time.monotonic()

    def remove(self):
        """Removes the file at the end of the measurement."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
