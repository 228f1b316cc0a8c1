"""Rows of large variables a block at a time, so that work on all of them needs little memory."""

import math
from collections.abc import Iterator, Sequence

# 4 MB of float32.
_NUMBERS = 1 << 20


def row_blocks(
    start: int, stop: int, row_shape: Sequence[int], numbers: int | None = None
) -> Iterator[tuple[int, int]]:
    """Yields (first, last), the bounds of the blocks of the rows from `start` to `stop`; only the last may be smaller.

    Args:
      start: int.
      stop: int.
      row_shape: shape of a row.
      numbers: int, about as many numbers in a block; None: a million.
    """
    rows = max(1, (numbers or _NUMBERS) // max(1, math.prod(row_shape)))
    for first in range(start, stop, rows):
        yield first, min(stop, first + rows)
