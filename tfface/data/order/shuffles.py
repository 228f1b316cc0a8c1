"""Orders of training records: shuffled blocks that are read on their own, or a shuffle buffer behind a reader."""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfface.data.order.permutations import BLOCKS, RECORDS, permutation


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Shuffled blocks of consecutive records; every worker reads only its own blocks.

    In every epoch the blocks come in a new order, and so do the records of each block. This order is cut into as many
    equal parts as a batch has images, and each image of a batch comes from its own part. So the images of a batch are
    from different blocks, and a worker reads about one block per image of its batch ahead.

    Args:
      size: int, records per block. Larger blocks suit storage with slow access, and need more memory.

    Raises:
      ValueError: the argument is not a positive integer.
    """

    size: int = 64

    def __post_init__(self):
        _check_size(self.size)


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Records in the order of the files, shuffled in a buffer, as in release 0.1; every worker reads all records.

    Args:
      size: int, number of encoded images from which the next one is drawn.

    Raises:
      ValueError: the argument is not a positive integer.
    """

    size: int = 10_000

    def __post_init__(self):
        _check_size(self.size)


def _check_size(size):
    if int(size) != size or size < 1:
        raise ValueError(f"size must be an integer of at least 1, got {size!r}.")


class Piece(NamedTuple):
    """A part of a shuffled block that one image of the batch shows in consecutive steps.

    Args:
      step: first step, from the start of the epoch.
      image: index of the image in the batch.
      block: number of the block.
      start, stop: the range of the block's shuffled records.
    """

    step: int
    image: int
    block: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class BlockOrder:
    """The order of `Blocks` as a pure function of the seed, the epoch and the place in the batch.

    With the records of all blocks in their order as one sequence, image i of step t is record i * steps + t of it.

    Args:
      records: number of records.
      batch_size: images per batch, over all workers.
      steps: steps per epoch, `records // batch_size`.
      size: records per block; the last block may have fewer.
      seed: int >= 0.
    """

    records: int
    batch_size: int
    steps: int
    size: int
    seed: int

    def pieces(self, epoch: int, images: range, first_step: int = 0) -> list[Piece]:
        """Returns what a worker reads in an epoch, in the order in which it is needed.

        Args:
          epoch: number of the epoch.
          images: the images of the batch that are this worker's.
          first_step: step of the epoch to begin with.
        """
        count = -(-self.records // self.size)
        blocks = permutation(count, self.seed, BLOCKS, epoch, 0)
        ends = np.cumsum(np.minimum(self.size, self.records - blocks * self.size))
        starts = np.concatenate([[0], ends[:-1]])
        # A piece begins with a block, or with the part of an image.
        parts = np.arange(images.start, images.stop) * self.steps
        begins = np.union1d(starts, parts + first_step)
        begins = begins[(begins >= parts[0]) & (begins < parts[-1] + self.steps)]
        image, step = np.divmod(begins, self.steps)
        used = step >= first_step
        begins, image, step = begins[used], image[used], step[used]
        where = np.searchsorted(ends, begins, side="right")
        stops = np.minimum(ends[where], (image + 1) * self.steps)
        columns = (step, image, blocks[where], begins - starts[where], stops - starts[where])
        order = np.lexsort((image, step))
        return [Piece(*row) for row in zip(*(column[order].tolist() for column in columns), strict=True)]

    def numbers(self, epoch: int, piece: Piece) -> np.ndarray:
        """Returns the numbers of the records of a piece, int64 [stop - start], in the order of the steps."""
        first = piece.block * self.size
        count = min(self.size, self.records - first)
        return first + permutation(count, self.seed, RECORDS, epoch, piece.block)[piece.start : piece.stop]
