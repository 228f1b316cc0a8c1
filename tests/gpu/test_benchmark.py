"""The benchmark for GPUs runs on a CPU in its small mode."""

import pathlib
import re
import subprocess
import sys

import pytest

BENCHMARK = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
@pytest.mark.parametrize("only, rows", [("head", 3), ("", 12)])
def test_small_mode(only, rows):
    command = [sys.executable, str(BENCHMARK), "--small", "--steps=1", f"--only={only}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    device, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"TensorFlow \d.*, Keras 3.*", device)
    assert len(lines) == rows
    for line in lines:
        # The same head in PyTorch is measured where that is installed.
        assert re.search(r"(images/s|ms|ms of a step|classes) [\d.e+]+|torch .* not measured here", line), line
