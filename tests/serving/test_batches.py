"""Batches that fail as a whole, even on a server that fails other batches with them."""

import threading

import numpy as np
import pytest

from tfface.serving import Refused
from tfface.serving.batches import in_batches


class Merging:
    """A server that merges requests in flight, as TensorFlow Serving may: one bad row fails all of them."""

    def __init__(self, together):
        self.together, self.lock, self.under_way = together, threading.Condition(), []

    def send(self, batch):
        entry = {"rows": [int(image) for (image,) in batch], "failed": False}
        with self.lock:
            self.under_way.append(entry)
            self.lock.notify_all()
            # Waits for other requests; the timeout shows that there are none.
            self.lock.wait_for(lambda: len(self.under_way) >= self.together or entry["failed"], timeout=0.02)
            if any(number < 0 for other in self.under_way for number in other["rows"]):
                for other in self.under_way:
                    other["failed"] = True
                self.lock.notify_all()
            self.under_way.remove(entry)
            if entry["failed"]:
                raise Refused("bad")
        return entry["rows"]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_blames_the_bad_rows_and_no_others(batch_size):
    numbers = np.arange(1, 31)
    numbers[np.random.default_rng(batch_size).random(30) < 0.3] *= -1
    server = Merging(together=3)
    results = list(in_batches(server.send, ((b"%d" % number,) for number in numbers), batch_size, concurrency=3))
    assert [None if isinstance(result, Refused) else result for result in results] == [
        None if number < 0 else number for number in numbers
    ]


def test_an_error_of_the_rows_ends_all():
    def rows():
        yield (b"1",)
        raise OSError("disk")

    before = threading.active_count()
    with pytest.raises(OSError, match="disk"):
        list(in_batches(lambda batch: batch, rows(), 1, 2))
    assert threading.active_count() == before  # No thread is left behind.
