"""Runs programs as their users do: in processes of their own, several of them as workers of one training.

The processes are copies of one that has imported TensorFlow and Keras, which would take each of them seconds. Tests of
how a program starts, or of signals while it starts, ask for fresh ones.
"""

import atexit
import csv
import json
import multiprocessing
import os
import pathlib
import runpy
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]

_copies = multiprocessing.get_context("forkserver")
_copies.set_forkserver_preload(["tfface", "tensorflow", "keras"])


class Program:
    """A running Python program, with what tests use of `subprocess.Popen`.

    Args:
      arguments: path of the program below ROOT, or "tfface" for `python -m tfface`, and its arguments.
      env: its environment.
      cwd: its working directory.
      stdout, stderr: files that it writes to; None: temporary ones.
      start_new_session: whether it leads a session of its own.
    """

    def __init__(self, arguments, *, env, cwd=ROOT, stdout=None, stderr=None, start_new_session=False):
        self.args = [str(argument) for argument in arguments]
        # Their files live as long as this object.
        self.stdout, self.stderr = (file or tempfile.NamedTemporaryFile("w+") for file in (stdout, stderr))  # noqa: SIM115
        outputs = self.stdout.name, self.stderr.name
        started = self.args, str(cwd), env, outputs, start_new_session
        self._process = _copies.Process(target=_run, args=started)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """Waits for the end; returns what was written to stdout and stderr."""
        self.wait(timeout)
        return tuple(pathlib.Path(file.name).read_text() for file in (self.stdout, self.stderr))

    def send_signal(self, signum):
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self):
        self._process.kill()


def _run(arguments, folder, environment, outputs, leads_session):
    """Becomes the program, in a process that was copied for it."""
    if leads_session:
        os.setsid()
    for number, path in enumerate(outputs, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    try:
        if arguments[0] == "tfface":
            runpy.run_module("tfface", run_name="__main__", alter_sys=True)
        else:
            program = ROOT / arguments[0]
            sys.path[0:0] = [str(program.parent)]  # As Python does for the path of a program.
            runpy.run_path(str(program), run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # Copied processes end without.


def start(name, *arguments, cluster=None, worker=0, fresh=False, variables=None, **options):
    """Starts a program of this repository, such as "scripts/train.py"; with a cluster, as one worker of it."""
    environment = {**os.environ, **(variables or {})}
    if cluster:
        task = {"type": "worker", "index": worker}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})
    if fresh:
        command = [sys.executable, str(ROOT / name), *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **options}
        return subprocess.Popen(command, text=True, env=environment, **options)
    return Program([name, *arguments], env=environment, **options)


def run(name, *arguments, timeout=600, **options):
    """Runs a program of this repository to its end; returns what `subprocess.run` would."""
    program = start(name, *arguments, **options)
    return subprocess.CompletedProcess(program.args, program.wait(timeout), *program.communicate())


def start_workers(count, *arguments, **options):
    """Starts `count` workers of one training."""
    cluster = free_ports(count)
    return [
        start("scripts/train.py", *arguments, "--strategy=multiworker", cluster=cluster, worker=worker, **options)
        for worker in range(count)
    ]


def finish(process, timeout=400):
    """Waits for a program that should succeed; returns what it wrote to stderr."""
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return errors


def wait_until(condition, *processes, seconds=400):
    """Waits for `condition()`; fails when one of the processes ends or the time passes before."""
    deadline = time.monotonic() + seconds
    while not condition():
        for process in processes:
            assert process.poll() is None, process.stderr.read() if process.stderr else process.returncode
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def free_ports(count):
    """Returns addresses "localhost:port" of ports that are free."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [f"localhost:{port}" for port in ports]


def session(pid):
    """Returns the numbers of the living processes of a session; looks into /proc."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def curve(run_dir):
    """Returns the (step, loss) of every line of a run's log as text: equal means equal to the last bit."""
    path = run_dir / "log.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]
