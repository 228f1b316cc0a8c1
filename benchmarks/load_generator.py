"""A closed load on a model server: so many clients, each of which waits for an answer before its next request."""

import contextlib
import io
import pathlib
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfface import serving
from tfface.data.formats.image_files import read_image_file
from tfface.data.sources.folders import find_images
from tfface.data.synthetic.rendering import render_face

HEADER = ("images/request", "clients", "requests", "images/s", "p50 ms", "p99 ms")


class Load(NamedTuple):
    """The measurements of one row.

    Attributes:
      latencies: seconds of each request.
      seconds: from the first request to the last answer.
    """

    latencies: list[float]
    seconds: float


def row(load: Load, size: int, clients: int) -> list[float]:
    """Returns the values of `HEADER`."""
    middle, slow = 1000 * np.percentile(load.latencies, [50, 99], method="inverted_cdf")
    count = len(load.latencies)
    return [size, clients, count, round(size * count / load.seconds, 1), round(middle, 1), round(slow, 1)]


def run_load(
    server: str, model: str, images: Sequence[bytes], size: int, clients: int, requests: int, warm_up: int = 1
) -> Load:
    """Sends requests of `size` images from so many clients at a time, and times them.

    Raises:
      ServerError: a request failed.
    """
    numbers = iter(range(requests))
    latencies, failures, lock = [], [], threading.Lock()
    # The main thread is the last to come, and takes the time.
    started = threading.Barrier(clients + 1)

    def batch(number):
        return [images[(number * size + place) % len(images)] for place in range(size)]

    def work(index):
        try:
            # One request of all images: the client itself neither splits nor repeats it.
            with serving.connect(server, model, batch_size=size, concurrency=1, retries=0) as client:
                client.metadata()
                for number in range(warm_up):
                    client.embed(batch(index + number))
                started.wait()
                while not failures:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    request = batch(number)
                    begin = time.perf_counter()
                    client.embed(request)
                    latencies.append(time.perf_counter() - begin)
        except Exception as error:  # Raised by the main thread; the others stop.
            failures.append(error)
            started.abort()

    threads = [threading.Thread(target=work, args=[index]) for index in range(clients)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        started.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    if failures:
        raise next((error for error in failures if not isinstance(error, threading.BrokenBarrierError)), failures[0])
    return Load(latencies, seconds)


def read_images(folder):
    """Reads the image files of a folder."""
    keys = find_images(folder).keys
    if not keys:
        raise ValueError(f"{folder} holds no images.")
    return [read_image_file(pathlib.Path(folder) / key) for key in keys]


def rendered(count):
    """Renders faces of as many people, as PNG files."""
    found = []
    for person in range(count):
        file = io.BytesIO()
        Image.fromarray(render_face(0, person, 0)[0]).save(file, "PNG")
        found.append(file.getvalue())
    return found
