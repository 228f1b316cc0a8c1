"""benchmarks/serving.py and its load: what it sends, what it counts, and that it fails with its requests."""

import pathlib
import subprocess
import sys
import threading

import load_generator as load
import pytest
import stand_in
from scripted import one_hot

from tfface.serving import Refused

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = [b"%d" % number for number in range(5)]


def batch(number, size):
    return [IMAGES[(number * size + place) % 5] for place in range(size)]


def test_sends_every_request_once_and_times_all_but_the_warm_up(rest, model):
    measured = load.run_load(rest(), "faces", IMAGES, size=3, clients=2, requests=8, warm_up=1)
    assert sorted(model.requests) == sorted(batch(number, 3) for number in [0, 1, *range(8)])
    assert len(measured.latencies) == 8
    assert 0 < min(measured.latencies) <= max(measured.latencies) <= measured.seconds


def test_so_many_clients_wait_at_a_time(rest, model):
    together = threading.Barrier(3)
    correct = model.answer

    def answer(earlier, inputs):
        together.wait(timeout=60)  # Passes when three requests are under way.
        return correct(earlier, inputs)

    model.answer = answer
    measured = load.run_load(rest(), "faces", IMAGES, size=1, clients=3, requests=6, warm_up=0)
    assert len(measured.latencies) == 6 and model.most == 3


@pytest.mark.parametrize("warm_up", [0, 1])
def test_a_refused_request_ends_it(rest, model, warm_up):
    def answer(earlier, inputs):
        raise stand_in.Failure("INVALID_ARGUMENT", "no image")

    model.answer = answer
    with pytest.raises(Refused, match="no image"):
        load.run_load(rest(), "faces", IMAGES, size=1, clients=2, requests=100, warm_up=warm_up)
    assert not [thread for thread in threading.enumerate() if "(work)" in thread.name]  # No client is left.


def test_a_row_has_the_percentiles_and_the_images_per_second():
    measured = load.Load([number / 1000 for number in range(100, 0, -1)], seconds=2.0)
    assert load.row(measured, size=4, clients=8) == [4, 8, 100, 200.0, 50.0, 99.0]


def test_prints_a_row_for_each_size_and_concurrency(rest, model, tmp_path):
    model.answer = lambda earlier, inputs: {"embedding": one_hot([b"1"] * len(inputs["image_bytes"]))}
    output = tmp_path / "load.csv"
    flags = ("--batch_sizes=1,2", "--concurrency=1,2", "--requests=3", f"--output={output}", "--model=faces")
    command = [sys.executable, str(ROOT / "benchmarks" / "serving.py"), f"--server={rest()}", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    table = [line.split() for line in done.stdout.splitlines()]
    assert [line[:3] for line in table[-4:]] == [["1", "1", "3"], ["1", "2", "3"], ["2", "1", "3"], ["2", "2", "3"]]
    header, *rows = output.read_text().splitlines()
    assert header.split(",") == list(load.HEADER) and [row.split(",") for row in rows] == table[-4:]
    # Rendered faces, each request of other ones.
    assert all(image.startswith(b"\x89PNG") for request in model.requests for image in request)
    assert len({image for request in model.requests for image in request}) > 3
