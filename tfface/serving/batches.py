"""Concurrent batches of rows for a server that refuses a whole batch for one bad row."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfface.serving.errors import Refused

# Photographs are large: a request of this size is sent even if its batch is not full.
_REQUEST_BYTES = 1 << 25


def in_batches(
    send: Callable[[list], Sequence], rows: Iterable[tuple], batch_size: int, concurrency: int
) -> Iterator[Any]:
    """Sends rows in batches, reads rows only as fast as answers come, and finds the rows that spoil a batch.

    A refused batch is sent again while no other is in flight, because a server that merges requests fails them
    together; then it is halved until the bad rows are found.

    Args:
      send: function from a list of rows to the list of their results; raises `Refused` if any of them is bad.
      rows: iterable of tuples of bytes and landmarks.
      batch_size: int, largest number of rows per batch.
      concurrency: int, batches in flight at a time.

    Yields:
      Per row, in order, its result or the `Refused` that it causes.

    Raises:
      ValueError: a row holds anything else.
    """
    waiting = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(concurrency)

    def oldest():
        batch, future = waiting.popleft()
        try:
            return future.result()
        except Refused:
            concurrent.futures.wait([other for _, other in waiting])
            return _isolate(send, batch)

    try:
        for batch in _batches(rows, batch_size):
            waiting.append((batch, pool.submit(send, batch)))
            if len(waiting) == concurrency:
                yield from oldest()
        while waiting:
            yield from oldest()
    finally:
        # Without waiting, because after an error or an interruption nobody needs the remaining answers.
        pool.shutdown(wait=False, cancel_futures=True)


def _isolate(send, batch):
    try:
        return send(batch)
    except Refused as error:
        if len(batch) == 1:
            return [error]
        half = len(batch) // 2
        return _isolate(send, batch[:half]) + _isolate(send, batch[half:])


def _batches(rows, batch_size):
    batch, size = [], 0
    for index, row in enumerate(rows):
        for value in row:
            if not isinstance(value, bytes) and np.shape(value) != (5, 2):
                raise ValueError(f"row {index} must hold bytes and landmarks [5, 2], got {str(value)[:100]!r}.")
        row_size = sum(len(value) for value in row if isinstance(value, bytes))
        if batch and (len(batch) == batch_size or size + row_size > _REQUEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch
