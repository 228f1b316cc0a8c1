"""`tfface plan` as a user runs it, and what it takes beside the settings."""

import subprocess
import sys

import pytest

from tfface.jobs.planning import inputs

SMALL = ("--backbone=SFNet(units=[0,0,0,0])", "--image_size=56", "--batch_size=2048")


@pytest.mark.parametrize(("text", "size"), [("80G", 80e9), ("1.5g", 1.5e9), ("512MiB", 2**29), ("64K", 64e3), ("7", 7)])
def test_sizes_in_words(text, size):
    assert inputs.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["80 parsecs", "", "-1G", "0G", "G", "1e3"])
def test_a_size_that_is_none_ends_in_a_sentence(text):
    with pytest.raises(ValueError, match="memory must be a size such as 80G"):
        inputs.parse_bytes(text)


def tfface_plan(*flags):
    return subprocess.run([sys.executable, "-m", "tfface", "plan", *flags], capture_output=True, text=True, timeout=300)


def test_a_billion_classes_on_a_thousand_replicas_have_a_plan():
    flags = ("--classes=1000000000", "--images=50000000000", "--replicas=1024", "--partition=replicas")
    done = tfface_plan(*SMALL, *flags, "--memory=1G")
    assert done.returncode == 0, done.stderr
    first, memory, sent, reads, *rest = done.stdout.splitlines()
    assert "1,000,000,000 identities" in first and "on 1,024 replicas" in first
    # 2 · 4 · 512 · 10⁹ / 1,024 bytes of class weights and momentum, 4 GB, do not fit.
    assert memory.startswith("Memory per replica: ") and float(memory.split()[3]) > 4
    assert "It does not fit 1.00 GB per replica." in rest


def test_a_plan_needs_classes_or_data():
    done = tfface_plan(*SMALL)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "Error: a plan needs training data (--train_data) or a number of identities (--classes).\n"
    )
