"""What the sources have in common that read one foreign file."""

import os
import pathlib

from tfface.data.sources.base import Source
from tfface.files import open_regular

# So many are no longer damage but another format, and their list would fill the memory.
MAX_BAD = 10_000


class FileSource(Source):
    """Images that a file holds or names.

    Args:
      path: the file.
    """

    def __init__(self, path):
        super().__init__()
        self.location = pathlib.Path(path)

    def begin(self):
        """Starts a pass over the index: forgets what was bad, and notes size and time of the file."""
        self.skipped = []
        with open_regular(self.location) as file:
            found = os.fstat(file.fileno())
        self.fingerprint = f"{found.st_size} {found.st_mtime_ns}"

    def reject(self, place, reason):
        """Adds to the list of what is bad.

        Raises:
          ValueError: if it gets too long.
        """
        if len(self.skipped) >= MAX_BAD:
            raise ValueError(f"{self.location}: bad in more than {MAX_BAD} places, the last one {place}: {reason}.")
        self.skipped.append((place, reason))
