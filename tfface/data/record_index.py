"""Random access to the records of a dataset: where each one is, and reading any of them with few reads."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from tfface.data.formats.tfrecord_files import FRAME_BYTES, read_runs


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RecordIndex:
    """Places of the records of a dataset, in 12 bytes per record.

    Args:
      shards: paths.
      shard_starts: int64 [shards], place of the first byte of each shard.
      places: int64 [N], place of every record, the offset in its file plus the start of the shard; increasing.
      lengths: uint32 [N], number of bytes in the data of every record.
    """

    shards: tuple[str, ...]
    shard_starts: np.ndarray
    places: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(
        cls, shards: Sequence[str], lengths: Sequence[np.ndarray], offsets: Sequence[np.ndarray] | None = None
    ) -> "RecordIndex":
        """Makes the index of shards.

        Args:
          shards: paths, at least one.
          lengths: for each shard, uint32 [n], the lengths of its records.
          offsets: for each shard, int64 [n], the starts of its records; None: they follow each other.
        """
        joined = np.concatenate(lengths)
        if offsets is None:
            # In place, because this is the largest array of the index.
            places = np.full(len(joined), FRAME_BYTES, np.int64)
            places[1:] += joined[:-1]
            places[:1] = 0
            np.cumsum(places, out=places)
            ends = [sum_of_bytes(of_shard) for of_shard in lengths]
            return cls(tuple(shards), np.cumsum([0, *ends])[:-1], places, joined)
        ends = [
            int(starts[-1] + of_shard[-1]) + FRAME_BYTES if len(starts) else 0
            for starts, of_shard in zip(offsets, lengths, strict=True)
        ]
        shard_starts = np.cumsum([0, *ends])[:-1]
        places = np.concatenate([one + start for one, start in zip(offsets, shard_starts, strict=True)])
        return cls(tuple(shards), shard_starts, places, joined)

    def __len__(self) -> int:
        return len(self.places)

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """Reads records; those that follow each other in a file are read in one piece, and nothing else is read.

        Args:
          numbers: int [n], indices of records.

        Returns:
          List of the n serialized records, in the order of `numbers`.

        Raises:
          ValueError: a record is damaged; the message names the shard and the offset.
          OSError, tf.errors.OpError: a file cannot be read.
        """
        order = np.argsort(numbers, kind="stable")
        places, lengths = self.places[numbers[order]], self.lengths[numbers[order]].tolist()
        shards = np.searchsorted(self.shard_starts, places, side="right") - 1
        ends = places[:-1] + lengths[:-1] + FRAME_BYTES
        starts = [0, *np.flatnonzero((places[1:] != ends) | (np.diff(shards) != 0)) + 1]
        runs = zip(starts, [*starts[1:], len(numbers)], strict=True)
        records = [b""] * len(numbers)
        positions = iter(order)
        # A file is opened once, because this takes longer than to read a record.
        for shard, of_shard in itertools.groupby(runs, lambda run: shards[run[0]]):
            first = self.shard_starts[shard]
            found = read_runs(
                self.shards[shard], ((int(places[start] - first), lengths[start:stop]) for start, stop in of_shard)
            )
            for data in found:
                records[next(positions)] = data
        return records


def sum_of_bytes(lengths: np.ndarray) -> int:
    """Returns the size of the file of records with these lengths, uint32 [N]."""
    return int(lengths.sum(dtype=np.int64)) + len(lengths) * FRAME_BYTES
