"""A map by threads that holds only a few results at a time."""

import collections
import concurrent.futures
import os

# For each thread; as many images are in memory.
_AHEAD = 4


def map_in_threads(function, values, workers=None):
    """Maps a function that reads files or decodes images, which Python does in parallel.

    Args:
      function: of one value.
      values: iterable, drawn from only a little ahead of the results.
      workers: number of threads; default: the number of processors.

    Yields:
      The results in order; what the function raises is raised here.
    """
    workers = workers or os.cpu_count()
    waiting = collections.deque()
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
