"""Start and failure of every command-line program: one sentence on stderr and an exit status."""

import errno
import inspect
import os
import shlex
import sys
from collections.abc import Callable

from tfface import interrupts

# Programs import this module first. Nothing is open until they run, so a signal may simply end the process.
interrupts.default()

from absl import app, flags, logging  # noqa: E402

from tfface import flagfiles, progress  # noqa: E402
from tfface.cli import help  # noqa: E402
from tfface.config import migrations  # noqa: E402

_QUIET = flags.DEFINE_bool("quiet", False, "Show no progress; results and warnings stay.")


def run(main: Callable[..., None]) -> None:
    """Runs `main()` under absl; an expected failure ends in one sentence on stderr and exit status 1.

    Expected failures are `ValueError` (bad input or flag values), `OSError` (files), a lack of memory and TensorFlow's
    operation errors (its own file access, damaged records); any other error is a bug and keeps its traceback. SIGINT
    and SIGTERM end in one sentence too, with exit status 130 and 143.

    Args:
      main: function without arguments, or of the words that are no flags; flags are parsed when it is called.
    """

    def guarded(argv):
        if len(argv) > 1 and not inspect.signature(main).parameters:
            sys.exit(f"Error: unexpected argument {argv[1]!r}; options start with --.")
        logging.set_verbosity(logging.WARNING)
        progress.be_quiet(_QUIET.value)
        try:
            main(*argv[1:])
            interrupts.ignore()  # The work is complete; a signal while the interpreter ends must not report failure.
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
        if any(flagfiles.flag_name(argument) in _HELP for argument in arguments[1:]):
            print(help.render(sys.modules[main.__module__].__doc__ or "", command().partition(" -")[0]))
            return
        app.run(guarded, arguments)
    except KeyboardInterrupt as error:
        interrupts.default()  # A second signal ends the program at once, without a message.
        print(f"\nError: {error or 'interrupted.'}", file=sys.stderr)
        sys.exit(getattr(error, "status", 130))


_HELP = ("help", "helpshort", "h", "?")


def command() -> str:
    """Returns the command line of this process as a user types it: `tfface NAME ...` or `python SCRIPT ...`."""
    first, *rest = sys.argv
    return f"{first if first.startswith('tfface ') else f'python {shlex.quote(first)}'} {shlex.join(rest)}".rstrip()


def _expected():
    # A program that never imported TensorFlow cannot meet its errors.
    tensorflow = sys.modules.get("tensorflow")
    return (ValueError, OSError, *([tensorflow.errors.OpError] if tensorflow else []))


# NumPy, threads and shared libraries report a lack of memory only in these words, not by a type of error.
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
        from tfface import keras_private  # Imported here, because it imports TensorFlow.

        return keras_private.reason_of(error)
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename if error.filename is not None else "output"
        reason = "no space left on the disk" if error.errno == errno.ENOSPC else os.strerror(error.errno)
        return f"{name}: {reason}."
    return str(error)
