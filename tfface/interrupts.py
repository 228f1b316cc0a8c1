"""SIGINT and SIGTERM, by which users and schedulers ask a program to end.

A program of tfface turns both into `Interrupted`, so that whatever is open is closed and removed on the way out. Work
that should end at a good place rather than at once asks for the signal in `postponed`.
"""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Callbacks of weak references, of which only the file is the same.
_FINALIZERS = ("weakref.py", "_weakrefset.py")


class Interrupted(KeyboardInterrupt):
    """The program was asked to end.

    Args:
      signum: int, number of the signal.
      remedy: str, one sentence on how to continue, or "".

    Attributes:
      signum: int, number of the signal.
      status: int, exit status by the convention of shells: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, signum, remedy=""):
        name = signal.Signals(signum).name
        super().__init__(f"interrupted by {name}" + (f"; {remedy}" if remedy else "."))
        self.signum, self.status = signum, 128 + signum


def raise_interrupted():
    """Makes the two signals raise `Interrupted` in the main thread from now on."""
    for signum in SIGNALS:
        signal.signal(signum, _interrupt)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _send_again)


class Postponed:
    """The signal that came in a block of `postponed`.

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

    with kept():
        for signum in SIGNALS:
            signal.signal(signum, note)
        yield request


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


@contextlib.contextmanager
def held():
    """Keeps the signals back in a short block that must not be cut off, such as the removal of a temporary folder.

    What came is sent again after the block, to the handlers of before. A child process that starts in the block never
    sees SIGINT, which a terminal sends to parent and children: it leaves that to its parent.
    """
    request = Postponed()
    try:
        with postponed() as request, _inherited_mask():
            yield
    finally:
        if request.signum is not None:
            signal.raise_signal(request.signum)


@contextlib.contextmanager
def remedy(text: str):
    """Has an `Interrupted` that leaves the block tell the user how to continue.

    Args:
      text: one sentence, from a small letter to its full stop.
    """
    try:
        yield
    except BaseException as error:
        interruption = behind(error)
        if interruption is None:
            raise
        raise Interrupted(interruption.signum, text) from None


def behind(error):
    """Returns the `Interrupted` that led to an error, or None.

    C code, through which an `Interrupted` passes, may make an error of its own of it, as TensorFlow's does.
    """
    if isinstance(error, Interrupted):
        return error
    return Interrupted(_received[0]) if _received and isinstance(error, Exception) else None


@contextlib.contextmanager
def _inherited_mask():
    """Has children of this thread start with SIGINT blocked, which other threads then receive for this process."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows.
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def default():
    """Has both signals end the process at once, without cleaning up."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)


def ignore():
    """Makes this process deaf to both signals."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


_received = []
_put_off = []


def _interrupt(signum, frame):
    if _would_be_lost(frame) and hasattr(signal, "setitimer"):
        _put_off.append(signum)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return
    _received.append(signum)
    raise Interrupted(signum)


def _send_again(signum, frame):
    while _put_off:
        signal.raise_signal(_put_off.pop())


def _would_be_lost(frame):
    """Whether Python would print and forget an exception raised here, as in a finalizer, or the import system break."""
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        return True
    while frame is not None:
        if frame.f_code.co_name == "__del__" or os.path.basename(frame.f_code.co_filename) in _FINALIZERS:
            return True
        frame = frame.f_back
    return False
