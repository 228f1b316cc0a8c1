"""A threaded map that holds only a few results at a time, and work in parts that other processes can take over."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")

# A function of a part, a JSON value, and of a number of threads; it yields the part's rows, JSON values too.
Work = Callable[[Any, int | None], Iterable[Any]]

# What does work in parts: a function of one that returns the `Work`, which is pickled; of the parts; of the form of a
# part's rows, for `tfface.json_files`; and of one that returns what the rows depend on besides the parts, a JSON value,
# called when all parts are known. It returns the rows of each part, in order.
Run = Callable[[Callable[[], Work], Iterable[Any], Any, Callable[[], Any]], Iterable[Iterable[Any]]]

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


def run_here(
    make_work: Callable[[], Work],
    parts: Iterable[Any],
    form: Any,
    state: Callable[[], Any],
    *,
    workers: int | None = None,
) -> Iterable[Iterable[Any]]:
    """Works on parts in this process, one after the other: the `Run` that stores nothing.

    Args:
      make_work, parts, form, state: as for any `Run`.
      workers: number of threads; default: the number of processors.

    Returns:
      The rows of each part, made when they are asked for.
    """
    work = make_work()
    return (work(part, workers) for part in parts)
