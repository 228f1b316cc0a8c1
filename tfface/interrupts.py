"""SIGINT and SIGTERM, the requests of users and schedulers that a program end.

A program of tfface turns both into `Interrupted`, so that whatever is open is closed and removed on the way out. Work
that would rather end at a good place than at once asks for the signal in `postponed`.
"""

import contextlib
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The program was asked to end.

    Args:
      signum: int, number of the signal.
      remedy: str, one sentence on how to continue, or "".

    Attributes:
      status: int, exit status by the convention of shells: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, signum, remedy=""):
        name = signal.Signals(signum).name
        super().__init__(f"interrupted by {name}" + (f"; {remedy}" if remedy else "."))
        self.status = 128 + signum


def raise_interrupted():
    """Makes the two signals raise `Interrupted` in the main thread from now on."""
    for signum in SIGNALS:
        signal.signal(signum, _interrupt)


class Postponed:
    """What has been asked for in a block of `postponed`.

    Attributes:
      signum: int, number of the signal that came first, or None.
    """

    signum = None


@contextlib.contextmanager
def postponed():
    """Takes note of the first signal in a block instead of raising; the second one raises `Interrupted`.

    In a thread that is not the main one nothing changes: signals do not reach it.

    Yields:
      `Postponed`.
    """
    request = Postponed()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(signum, frame):
        if request.signum is not None:
            raise Interrupted(signum)
        request.signum = signum

    before = {signum: signal.signal(signum, note) for signum in SIGNALS}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def kept():
    """Gives both signals back the handlers that they had before a block.

    TensorFlow installs a handler of its own when it connects workers, which ignores SIGTERM.
    """
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                # None: not installed from Python.
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)


def ignore():
    """Makes a child process leave both signals to its parent, which ends it; a terminal sends Ctrl-C to both."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _interrupt(signum, frame):
    raise Interrupted(signum)
