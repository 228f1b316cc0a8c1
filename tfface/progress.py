"""Progress of long work on stderr: a bar on a terminal, and in a log file a line now and then."""

import functools
import sys
import time

from tqdm import tqdm

# In a log file: 180 lines an hour for one piece of work at a time.
SECONDS_BETWEEN_LINES = 20.0

_quiet = False


def bar(iterable=None, **options):
    """Makes a tqdm bar, with the time left and the rate; elsewhere than on a terminal it writes whole lines.

    Args:
      iterable: what is gone through, None where `update` is called.
      **options: of `tqdm.tqdm`, such as `desc`, `total` and `unit`.
    """
    options["disable"] = _quiet or options.get("disable", False)
    if sys.stderr.isatty():
        return tqdm(iterable, mininterval=0.2, dynamic_ncols=True, **options)
    return _Lines(iterable, mininterval=SECONDS_BETWEEN_LINES, ncols=0, **options)


def bar_of(description: str):
    """Returns the function around a list of blocks that exact searches and comparisons of all pairs take."""
    return functools.partial(bar, desc=description, unit=" blocks")


def be_quiet(quiet: bool = True) -> None:
    """Shows no progress from now on; `note` still writes, because it tells what a user must know."""
    global _quiet
    _quiet = quiet


def note(text: str) -> None:
    """Writes a line to stderr for the user, above a progress bar where there is one."""
    tqdm.write(text, file=sys.stderr)


def detail(text: str) -> None:
    """Writes a line to stderr that the user may like to know; not if `be_quiet`."""
    if not _quiet:
        note(text)


class _Lines(tqdm):
    """A bar for a log: one line after each interval and one at the end, never a carriage return."""

    def __init__(self, *arguments, **options):
        self._ended, self._last = False, time.monotonic()
        super().__init__(*arguments, **options)

    def display(self, msg=None, pos=None):
        # tqdm displays more often: when it begins, around other lines, and from a thread that watches slow bars.
        now = time.monotonic()
        if not self._ended and now < self._last + self.mininterval:
            return
        self._last = now
        # `close` ends its own line.
        self.fp.write(str(self) if self._ended else f"{self}\n")
        self.fp.flush()

    def clear(self, nolock=False):
        """Does nothing: the lines stay where they are."""

    def close(self):
        self._ended = True
        super().close()
