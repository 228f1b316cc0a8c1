"""The format of run folders, in the first line of `flags.txt`; flags of earlier formats are brought forward."""

import os
import re
from collections.abc import Callable

from tfface.flagfiles import flags_of

# The format of the whole folder: flags, identities and checkpoints. Release 0.1 wrote no number: its format is 0.
FORMAT = 1

# Number n: function that turns the flags of format n, a list of str such as "--epochs=20.0", into those of format
# n + 1. A format that changed no flag, such as 0, has none.
MIGRATIONS: dict[int, Callable[[list[str]], list[str]]] = {}

_HEADER = re.compile(r"# tfface run, format (\d{1,9})\b.*")


def header() -> str:
    """Returns the first line of the flags of a run, a comment in a flagfile."""
    return f"# tfface run, format {FORMAT}"


def upgrade(lines: list[str], path: str | os.PathLike) -> list[str]:
    """Brings the flags of a run to the current format; other flagfiles have no such first line and stay as they are.

    Args:
      lines: list of str, all lines of the file.
      path: of the file, for the error.

    Returns:
      list of str, one flag each, without comments and empty lines.

    Raises:
      ValueError: a later release wrote the file.
    """
    found = _HEADER.fullmatch(lines[0].strip()) if lines else None
    number = int(found[1]) if found else 0
    if number > FORMAT:
        raise ValueError(
            f"{path}: a run of format {number}, of a later release of tfface; this one reads formats up to {FORMAT}."
        )
    flags = flags_of(lines)
    for step in range(number, FORMAT):
        flags = MIGRATIONS.get(step, list)(flags)
    return flags
