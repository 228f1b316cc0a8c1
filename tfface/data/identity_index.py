"""Random access to the records of a dataset, grouped by identity."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfface import progress
from tfface.data.checked_records import Records, naming_bad_records
from tfface.data.formats.tfrecord_files import read_record, record_offsets

_AT_ONCE = 1024  # Records to parse together.
_QUIET_SECONDS = 5  # A short reading needs no progress bar.


@dataclasses.dataclass(frozen=True)
class IdentityIndex:
    """Positions of the records of each identity, in 8 bytes per record; made by `index_identities`.

    Args:
      shards: paths.
      shard_starts: int64 [shards], place of the first byte of each shard.
      places: int64 [N], place of every record, the offset in its file plus the start of the shard; grouped by identity.
      starts: int64 [identities + 1]; identity i has the records starts[i] to starts[i + 1] - 1 of `places`.
    """

    shards: tuple[str, ...]
    shard_starts: np.ndarray
    places: np.ndarray
    starts: np.ndarray

    def read(self, records: Iterable[int]) -> list[bytes]:
        """Reads records, given by their positions in `places`.

        Raises:
          ValueError: a record is damaged; the message names the shard and the offset.
        """
        return [self._read(self.places[record]) for record in records]

    def _read(self, place):
        shard = np.searchsorted(self.shard_starts, place, side="right") - 1
        path, offset = self.shards[shard], int(place - self.shard_starts[shard])
        try:
            return read_record(path, offset)
        except ValueError as error:
            raise ValueError(f"{path}: the record at byte {offset}: {error}.") from None


def index_identities(records: Records) -> IdentityIndex:
    """Reads the label of every record; a progress bar shows it if it takes long.

    Args:
      records: from `open_records`.

    Returns:
      `IdentityIndex`, without the records that are left out.

    Raises:
      ValueError: a record is damaged; the message names it.
    """
    labels, places, shard_starts, end = [], [], [], 0
    bar = progress.bar(total=sum(records.counts), desc="index labels", unit=" images", delay=_QUIET_SECONDS)
    with bar, naming_bad_records(records):
        for path in records.shards:
            before = len(labels)
            for some in records.read(path).batch(_AT_ONCE).map(_labels, tf.data.AUTOTUNE).prefetch(4):
                labels.append(some.numpy())
                bar.update(len(labels[-1]))
            good = records.good.get(path)
            offsets = np.fromiter(record_offsets(path) if good is None else good, np.int64)
            if len(offsets) != sum(map(len, labels[before:])):
                raise ValueError(f"{path} changed while its records were read.")
            shard_starts.append(end)
            places.append(offsets + end)
            end += offsets[-1] + 1 if len(offsets) else 0
    label_of_record = np.concatenate(labels)
    # A stable order: records of one identity stay in the order of the dataset.
    order = np.argsort(label_of_record, kind="stable")
    _, counts = np.unique(label_of_record, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return IdentityIndex(records.shards, np.array(shard_starts), np.concatenate(places)[order], starts)


def _labels(serialized):
    return tf.io.parse_example(serialized, {"label": tf.io.FixedLenFeature([], tf.int64)})["label"]
