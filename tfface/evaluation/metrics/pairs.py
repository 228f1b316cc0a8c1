"""Pairs of images, as metrics of verification need them."""

from typing import Protocol

import numpy as np


class Pairs(Protocol):
    """P pairs of images; `tfface.data.protocols.pair_lists.Pairs` is such a class.

    Attributes:
      left, right: str [P], keys of the first and of the second image.
      same: bool [P], True for a genuine pair.
      fold: int [P], fold of the pair.
    """

    @property
    def left(self) -> np.ndarray: ...

    @property
    def right(self) -> np.ndarray: ...

    @property
    def same(self) -> np.ndarray: ...

    @property
    def fold(self) -> np.ndarray: ...

    def __len__(self) -> int: ...
