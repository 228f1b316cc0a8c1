"""Lines of TensorFlow's C++ that users cannot act on, in programs and notebooks.

The log of TensorFlow's C++ is off if `import tfface` comes before TensorFlow: what users need is raised in Python, and
falling back to another kernel is logged as an error. Some lines come before the log has a level: while `import
tensorflow` runs, what this process writes to stderr goes through a child process that drops these lines and forwards
all others. So an error of the import is seen even if it ends this process at once. TF_CPP_MIN_LOG_LEVEL=0 brings all
lines back.
"""

import contextlib
import importlib.machinery
import os
import subprocess
import sys

_KNOWN = (
    b"All log messages before absl::InitializeLog() is called are written to STDERR",
    b"oneDNN custom operations are on",
    # Two copies of a plugin of CUDA register themselves.
    b"Unable to register cuFFT factory",
    b"Unable to register cuDNN factory",
    b"Unable to register cuBLAS factory",
    b"computation placer already registered",
)

_FILTER = f"""
import sys
for line in sys.stdin.buffer:
    if not any(known in line for known in {_KNOWN!r}):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def drop() -> None:
    """Has the first import of TensorFlow print none of its known lines."""
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Has TensorFlow loaded within `_filtered`."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def quietly(module):
                sys.meta_path.remove(self)
                with _filtered() if os.environ.setdefault(_LEVEL, "3") != "0" else contextlib.nullcontext():
                    load(module)

            spec.loader.exec_module = quietly
        return spec


@contextlib.contextmanager
def _filtered():
    """Sends file descriptor 2 through the filter in a block; if that is impossible, nothing changes."""
    try:
        stderr = os.dup(2)
    except OSError:  # It is closed.
        yield
        return
    try:
        # A session of its own, because a signal from the terminal must not end it before this process.
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER], stdin=subprocess.PIPE, start_new_session=True
        )
    except OSError:
        os.close(stderr)
        yield
        return
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        child.wait()  # It ends when nobody can write to it any more.
