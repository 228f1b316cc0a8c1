"""Base class of the sources that read one file of another format."""

import os
import pathlib

from tfface.data.sources.base import Source, file_state
from tfface.files import open_regular

# More bad entries mean a wrong format rather than damage, and their list would fill the memory.
MAX_BAD = 10_000


class FileSource(Source):
    """Images that a file contains or lists.

    Args:
      path: the file.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        self.location = pathlib.Path(path)

    def begin(self) -> None:
        """Starts a pass over the index: clears `skipped`, and records size and time of the file."""
        self.skipped = []
        with open_regular(self.location) as file:
            self.fingerprint = "{} {}".format(*file_state(file.fileno()))

    def reject(self, place: str, reason: str) -> None:
        """Adds an entry to `skipped`.

        Raises:
          ValueError: if the list gets too long.
        """
        if len(self.skipped) >= MAX_BAD:
            raise ValueError(f"{self.location}: more than {MAX_BAD} bad entries, the last one at {place}: {reason}.")
        self.skipped.append((place, reason))
