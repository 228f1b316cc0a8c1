"""Memory of a partitioned head: weights and optimizer slots, and little more at any moment."""

import json
import pathlib
import subprocess
import sys

import pytest

BENCHMARK = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "parallel.py"


def measure(classes):
    """Four replicas in one process: creation, four steps, a checkpoint; the peak is that of its whole life."""
    options = [f"--num_classes={classes}", "--sampling_rate=0.01", "--steps=2", "--save"]
    command = [sys.executable, str(BENCHMARK), *options, "--measure=RandArcFace,4,replicas"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout.splitlines()[-1])
    return 4 * row["replica_bytes"], row["peak_bytes"]


@pytest.mark.slow
def test_creation_training_and_checkpoint_stay_near_weights_and_slots():
    few, base = measure(4_000)
    state, peak = measure(400_000)
    assert state == pytest.approx(2 * 4 * 400_000 * 512, rel=0.01)
    # Beyond what TensorFlow needs for the same steps of a small head.
    assert peak - base <= 1.15 * (state - few)
