"""Runs of Apache Beam in processes of this machine, for tests of what they write."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from programs import ROOT, session


def processes(count):
    """Options of a pipeline that works in so many processes."""
    return ["--direct_running_mode=multi_processing", f"--direct_num_workers={count}"]


def options(*arguments):
    """The `PipelineOptions` of these arguments."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(list(arguments))


def kill_and_repeat(arguments, begun, victim="worker"):
    """Runs `tfface` with two processes of Beam, kills one of them or the program, and runs it again to the end.

    Args:
      arguments: of `tfface`, without --beam.
      begun: function without arguments that says whether the time to kill has come.
      victim: "worker" or "program".
    """
    command = [sys.executable, "-m", "tfface", *map(str, arguments), *(f"--beam={option}" for option in processes(2))]
    process = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 500
    while not begun() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    if victim == "worker":
        # Beam on one machine waits for it for ever, so a user ends the program too.
        workers = [pid for pid in session(process.pid) if b"sdk_worker_main" in _arguments(pid)]
        os.kill(workers[-1], signal.SIGKILL)
    process.kill()
    process.wait(timeout=300)
    deadline = time.monotonic() + 120  # They notice after half a minute.
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not session(process.pid), "workers are left"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr


def _arguments(pid):
    return pathlib.Path("/proc", str(pid), "cmdline").read_bytes()
