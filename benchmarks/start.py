"""Measures how soon the quickstart's training makes its first step.

    python benchmarks/start.py

It starts `tfface train --flagfile=quickstart.flags`, some times after each other, and ends it after the first steps.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from tfface.cli import program

_RUNS = flags.DEFINE_integer("runs", 3, "Trainings; the median counts.", lower_bound=1)
_STEPS = 10  # A line of the log comes after these.


def main():
    rendering, training = zip(*(measure() for _ in range(_RUNS.value)), strict=True)
    for name, values in (("end of rendering", rendering), (f"from there to step {_STEPS}", training)):
        print(f"{name:24} {statistics.median(values):6.1f} ± {(max(values) - min(values)) / 2:.1f} s")


def measure():
    """Returns the seconds from the start to the end of rendering, and from there to the first line of the log."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        arguments = ["--flagfile=quickstart.flags", "--quiet", f"--log_every={_STEPS}", f"--run_dir={run}"]
        start = time.time()
        training = subprocess.Popen([sys.executable, "-m", "tfface", "train", *arguments], stdout=subprocess.DEVNULL)
        try:
            log = run / "log.csv"
            # The first line is the header.
            while not (log.is_file() and log.read_text().count("\n") > 1):
                if training.poll() is not None:
                    raise ValueError(f"the training ended with status {training.returncode}.")
                time.sleep(0.05)
            first = log.stat().st_mtime
        finally:
            training.kill()
            training.wait()
        rendered = max(os.stat(path).st_mtime for path in run.glob("records/*/dataset.json"))
        return rendered - start, first - rendered


if __name__ == "__main__":
    program.run(main)
