"""Progress bars on stderr."""

import sys

from tqdm import tqdm


def bar(iterable=None, **options):
    """Makes a tqdm bar; in a log file it writes a line now and then instead of many per second.

    Args:
      iterable: what is gone through, None where `update` is called.
      **options: of `tqdm.tqdm`.
    """
    terminal = sys.stderr.isatty()
    return tqdm(iterable, mininterval=0.2 if terminal else 15.0, dynamic_ncols=terminal, **options)


def note(text: str) -> None:
    """Writes a line to stderr for the user, above a progress bar where there is one."""
    tqdm.write(text, file=sys.stderr)
