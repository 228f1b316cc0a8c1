"""Runs the commands of several trainings, each in a process of its own, with progress over all of them."""

import collections
import contextlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tfface import interrupts, ownership, progress
from tfface.jobs.reproduction.plan import Run

_POLL = 0.2  # Seconds.
_TAIL = 64 << 10  # Bytes of a log in which its last line is looked for.
_WAIT = 60  # Seconds for which a run of a killed reproduction may take to end.

# A child ends when its standard input does: the process that started it may be killed and cannot tell it so.
_CHILD = """
import os, runpy, signal, threading

def end():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end, daemon=True).start()
runpy.run_module("tfface", run_name="__main__", alter_sys=True)
"""


def run_command(arguments: Sequence[str], log: pathlib.Path) -> str | None:
    """Runs one command of `tfface` to its end.

    Args:
      arguments: the words after `tfface`.
      log: file that what it prints is added to.

    Returns:
      None, or the last line that it printed if it failed.
    """
    with _children() as children:
        child = children.start(arguments, log)
        while child.poll() is None:
            time.sleep(_POLL)
        return None if child.returncode == 0 else _last_line(log)


def run_all(
    runs: Sequence[Run], logs: pathlib.Path, parallel: int = 1, finished: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Runs what is left of each run; one that fails does not stop the others.

    Args:
      runs: list of `Run`, finished ones too.
      logs: folder for what the commands print, a file a run.
      parallel: int, runs at once; each gets an equal share of the GPUs.
      finished: function that is called when a run has ended.

    Returns:
      dict from the name of each run that failed to the reason.

    Raises:
      ValueError: there are GPUs, but fewer than `parallel`.
    """
    devices = _devices(parallel)
    waiting = collections.deque(run for run in runs if not run.finished)
    active: dict[int, tuple[Run, list[list[str]], subprocess.Popen]] = {}
    failed: dict[str, str] = {}
    done = sum(run.steps for run in runs if run.finished)
    with (
        _children() as children,
        progress.bar(
            total=sum(run.steps for run in runs), initial=done, desc="reproduce", unit=" steps", smoothing=0
        ) as bar,
    ):

        def start(slot, run, commands):
            log = _log(logs, run)
            _await_end(run.folder)
            active[slot] = (run, commands[1:], children.start(commands[0], log, devices[slot]))

        while waiting or active:
            for slot in range(parallel):
                if slot not in active and waiting:
                    run = waiting.popleft()
                    start(slot, run, run.commands())
            time.sleep(_POLL)
            for slot, (run, commands, child) in list(active.items()):
                if child.poll() is None:
                    continue
                del active[slot]
                if child.returncode != 0:
                    failed[run.name] = f"{_last_line(_log(logs, run))} ({_log(logs, run)})"
                elif commands:
                    start(slot, run, commands)
                    continue
                else:
                    done += run.steps
                finished()
            steps = done + sum(_step(run) for run, _, _ in active.values())
            bar.set_postfix_str(", ".join(run.name for run, _, _ in active.values()), refresh=False)
            bar.update(max(0, steps - bar.n))
    return failed


class _Started:
    """The processes that were started here."""

    def __init__(self):
        self.processes = []

    def start(self, arguments, log, environment=None):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file, interrupts.held():
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, *arguments],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": _python_path(), **(environment or {})},
                # A terminal sends Ctrl-C to a whole group; a second signal would end a training without a checkpoint.
                start_new_session=True,
            )
            self.processes.append(child)
        return child


@contextlib.contextmanager
def _children():
    """Yields `_Started`; when the block ends, so do its processes, trainings with a checkpoint."""
    started = _Started()
    try:
        yield started
    finally:
        with interrupts.held():
            for child in started.processes:
                if child.poll() is None:
                    child.terminate()
            for child in started.processes:
                child.wait()
                child.stdin.close()


def _python_path():
    """The path by which children find this very library, in a checkout too."""
    return os.pathsep.join(filter(None, [str(pathlib.Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]))


def _await_end(folder):
    """Waits while the run of a killed reproduction writes its last checkpoint; then the program itself complains."""
    until = time.monotonic() + _WAIT
    while (folder / ownership.FILE).exists() and time.monotonic() < until:
        with contextlib.suppress(ValueError), ownership.owned(folder):
            return
        time.sleep(_POLL)


def _devices(parallel):
    """Returns the environment of each slot: with several, an equal share of the GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        count = len([path for path in pathlib.Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])
        gpus = [str(number) for number in range(count)]
    else:
        gpus = [each for each in visible.split(",") if each]
    if parallel == 1 or not gpus:
        return [{}] * parallel
    if len(gpus) < parallel:
        raise ValueError(f"{parallel} runs at once need {parallel} GPUs; there are {len(gpus)}.")
    share = len(gpus) // parallel
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[slot * share : (slot + 1) * share])} for slot in range(parallel)]


def _log(logs, run):
    return logs / f"{run.experiment.name}-seed-{run.seed}.txt"


def _step(run):
    """Returns the newest step in the log of a run."""
    line = _last_line(run.folder / "log.csv").partition(",")[0]
    return min(int(line), run.steps) if line.isascii() and line.isdigit() else 0


def _last_line(path):
    """Returns the last line of a file, without the frames of a progress bar; "" if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
