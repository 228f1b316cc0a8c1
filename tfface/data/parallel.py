"""A threaded map that holds only a few results at a time."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")

# Number of values per thread to read ahead; this many images are in memory.
_AHEAD = 4


def map_in_threads(
    function: Callable[[_Value], _Result], values: Iterable[_Value], workers: int | None = None
) -> Generator[_Result, None, None]:
    """Maps a function over values in threads; useful for reading files and decoding images.

    Args:
      function: function of one value.
      values: iterable, consumed only a little ahead of the results.
      workers: number of threads; default: the number of processors.

    Yields:
      The results in order. An exception of the function is raised here.
    """
    workers = workers or os.cpu_count() or 1
    waiting: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > workers * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
