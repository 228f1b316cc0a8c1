"""Kills conversions of a folder at random moments, runs them again, and reports each kill as one JSON line.

    python tests/data/conversion/kill_conversion.py FOLDER WORK_DIR KILLS

Half of the kills come after a random time, half between two random operations on the file system.
Every conversion is a fork of this process, which has loaded TensorFlow but not used it.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfface.data.conversion import convert

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


def start(faces, output, steps=None):
    """Starts a conversion that kills itself after so many steps; returns its process id and a pipe for their number."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    count = 0

    def hook(event, arguments):
        nonlocal count
        if event in STEPS and str(output) in str(arguments[0]):
            count += 1
            if count == steps:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    with contextlib.suppress(ValueError):  # The dataset exists already if it was published before the kill.
        convert.convert_folder(faces, output, name="toy", num_shards=6, holdout_identities=2, skip_bad=True, workers=2)
    os.write(writer, str(count).encode())
    os._exit(0)


def end(process, reader):
    """Waits for a conversion; returns whether it was killed, and the steps that it took if not."""
    killed = os.WIFSIGNALED(os.waitpid(process, 0)[1])
    with open(reader) as pipe:
        return killed, pipe.read()


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def main():
    faces, work = map(pathlib.Path, sys.argv[1:3])
    chance = random.Random(0)
    before = time.monotonic()
    _, steps = end(*start(faces, work / "whole"))
    duration = time.monotonic() - before
    expected = contents(work / "whole")

    output = work / "killed"
    for kill in range(int(sys.argv[3])):
        killed = False
        while not killed:  # A conversion may end before it is killed.
            shutil.rmtree(output, ignore_errors=True)
            process, reader = start(faces, output, chance.randint(1, int(steps)) if kill % 2 else None)
            if not kill % 2:
                time.sleep(chance.uniform(0, duration))
                os.kill(process, signal.SIGKILL)
            killed, _ = end(process, reader)
        kept = len(list(output.rglob("*.tfrecord")))
        end(*start(faces, output))
        print(json.dumps({"killed": killed, "kept": kept, "same": contents(output) == expected}), flush=True)


main()
