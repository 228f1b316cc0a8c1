"""State of a long measurement on disk, from which an interrupted run continues."""

import hashlib
import io
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfface import files, npz_files


class Checkpoint:
    """Named arrays in one file, saved from time to time.

    Args:
      path: path of the file; None saves nothing.
      seconds: float, shortest time between two saves, seconds.
      parts: arrays and other values that identify the measurement; another one must not continue from the file.
    """

    def __init__(self, path: str | os.PathLike | None, seconds: float, parts: Iterable[np.ndarray]) -> None:
        self._path = None if path is None else pathlib.Path(path)
        self._seconds, self._saved = seconds, time.monotonic()
        if self._path is not None:
            digest = hashlib.blake2b(digest_size=16)
            for part in parts:
                digest.update(np.ascontiguousarray(part).tobytes())
            self._key = np.frombuffer(digest.digest(), np.uint8)

    def load(self) -> dict[str, np.ndarray]:
        """Returns the saved arrays, or an empty dict.

        Raises:
          ValueError: the file belongs to another measurement or is not a checkpoint.
        """
        if self._path is None or not self._path.exists():
            return {}
        try:
            arrays = npz_files.read_npz(self._path)
        except ValueError as error:
            raise ValueError(f"{self._path}: not a checkpoint of a measurement ({error}).") from None
        if not np.array_equal(arrays.pop("key", np.zeros(0)), self._key):
            raise ValueError(f"{self._path}: a checkpoint of another measurement; remove it or name another file.")
        return arrays

    def save(self, arrays: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Saves the dict of arrays that the function `arrays` returns, if the last save was long enough ago."""
        if self._path is None or time.monotonic() - self._saved < self._seconds:
            return
        buffer = io.BytesIO()
        named: dict[str, Any] = {"key": self._key, **arrays()}
        np.savez(buffer, **named)
        files.write_atomically(self._path, buffer.getvalue())
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Removes the file at the end of the measurement."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
