"""How every command-line program of tfface starts and fails."""

import errno
import os
import sys

from tfface import interrupts

# Programs import this module first. Until they run nothing is open, and a signal need not be more than an end.
interrupts.default()

from absl import app, logging  # noqa: E402

from tfface import flagfiles  # noqa: E402
from tfface.config import migrations  # noqa: E402

# TensorFlow's start-up notices would bury a one-sentence error; TF_CPP_MIN_LOG_LEVEL=0 brings them back.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def run(main):
    """Runs `main()` under absl; an expected failure ends in one sentence on stderr and exit status 1.

    Expected are `ValueError` (bad input or flag values), `OSError` (files), a lack of memory and TensorFlow's operation
    errors (its own file access, damaged records); anything else is a bug and keeps its traceback. SIGINT and SIGTERM
    end in one sentence too, with exit status 130 and 143.

    Args:
      main: function without arguments; flags are parsed when it is called.
    """

    def guarded(argv):
        if len(argv) > 1:
            sys.exit(f"Error: unexpected argument {argv[1]!r}; options start with --.")
        logging.set_verbosity(logging.WARNING)
        try:
            main()
            interrupts.ignore()  # What was asked for is there; that must not be denied while the interpreter ends.
        except Exception as error:
            if interruption := interrupts.behind(error):
                raise interruption from None
            if not isinstance(error, _expected()) and not _lacks_memory(error):
                raise
            sys.exit(f"Error: {_sentence(error)}")

    try:
        interrupts.raise_interrupted()
        try:
            arguments = flagfiles.expand(sys.argv, migrations.upgrade)
        except (ValueError, OSError) as error:
            sys.exit(f"Error: {_sentence(error)}")
        app.run(guarded, arguments)
    except KeyboardInterrupt as error:
        interrupts.default()  # A second signal ends the program at once, without a word.
        print(f"\nError: {error or 'interrupted.'}", file=sys.stderr)
        sys.exit(getattr(error, "status", 130))


def _expected():
    # Programs that never imported TensorFlow have none of its errors either.
    tensorflow = sys.modules.get("tensorflow")
    return (ValueError, OSError, *([tensorflow.errors.OpError] if tensorflow else []))


# What is raised with these words is of no type of its own: NumPy, threads and shared libraries.
_NO_MEMORY = ("Cannot allocate memory", "Unable to allocate", "can't start new thread", "bad_alloc", "OOM when")


def _lacks_memory(error):
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def _sentence(error):
    if _lacks_memory(error):
        reason = next(iter(str(error).strip().splitlines()), "")
        return "not enough memory" + (f" ({reason})." if reason else ".")
    if not isinstance(error, (ValueError, OSError)):
        if (full := error.message.split("; No space left on device")) != [error.message]:
            return f"{full[0].split()[-1]}: no space left on the disk."
        # The message of a failed operation ends in its reason, after a traceback of the graph.
        reasons = [line.strip() for line in error.message.split("[[{{node")[0].splitlines() if line.strip()]
        return reasons[-1].removeprefix("assertion failed: ") if reasons else type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename if error.filename is not None else "output"
        reason = "no space left on the disk" if error.errno == errno.ENOSPC else os.strerror(error.errno)
        return f"{name}: {reason}."
    return str(error)
