"""Runs programs as their users do: in processes of their own, several of them as workers of one training."""

import csv
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def start(name, *arguments, cluster=None, worker=0, **options):
    """Starts a program of this repository, such as "scripts/train.py"; with a cluster, as one worker of it."""
    environment = dict(os.environ)
    if cluster:
        task = {"type": "worker", "index": worker}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})
    command = [sys.executable, str(ROOT / name), *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **options}
    return subprocess.Popen(command, text=True, env=environment, **options)


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
