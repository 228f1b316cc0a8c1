"""The records of each identity, and the labels that the index of a dataset holds."""

import os

import numpy as np
import tensorflow as tf

from tfface import progress
from tfface.data.checked_records import Records, naming_bad_records, open_records
from tfface.data.index_file import read_index, write_index

_AT_ONCE = 1024  # Records to parse together.
_QUIET_SECONDS = 5  # A short reading needs no progress bar.


def group_by_identity(records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Groups records by their label, by the index files beside the shards if there are such.

    Args:
      records: from `open_records`.

    Returns:
      (numbers, starts): uint32 [N], the numbers of all records, grouped by identity and in their order within each;
      and int64 [identities + 1]: identity i has numbers[starts[i]] to numbers[starts[i + 1] - 1].

    Raises:
      ValueError: a record is damaged; the message names it.
    """
    labels = None if records.bad else _indexed_labels(records)
    if labels is None:
        labels = _read_labels(records)
    # A stable order: records of one identity stay in the order of the dataset.
    numbers = np.argsort(labels, kind="stable").astype(np.uint32)
    _, counts = np.unique(labels, return_counts=True)
    return numbers, np.concatenate([[0], np.cumsum(counts)])


def index_dataset(directory: str | os.PathLike) -> int:
    """Writes the index of a dataset, or replaces it, from the records in its shards; a progress bar shows it.

    Args:
      directory: of the dataset, on a local disk.

    Returns:
      Number of records.

    Raises:
      ValueError: `directory` is not a complete dataset, or a record is damaged; the message names it.
      OSError: a file cannot be read or written.
    """
    records = open_records(os.fspath(directory), by_index=False)
    write_index(directory, records.random_access.lengths, _read_labels(records))
    return sum(records.counts)


def _indexed_labels(records):
    """Returns the label of every record, uint32 [N], from the index files beside the shards; None without these."""
    known = {}
    for directory in sorted(set(map(os.path.dirname, records.shards))):
        try:
            known |= {path: labels for path, (_, labels) in (read_index(directory) or {}).items()}
        except ValueError:  # As `open_records` told.
            return None
    return np.concatenate([known[path] for path in records.shards]) if known.keys() >= {*records.shards} else None


def _read_labels(records):
    """Returns the label of every record, int64 [N]; a progress bar shows it if it takes long."""
    labels = []
    bar = progress.bar(total=sum(records.counts), desc="read labels", unit=" images", delay=_QUIET_SECONDS)
    with bar, naming_bad_records(records):
        for some in records.read_all().batch(_AT_ONCE).map(_labels, tf.data.AUTOTUNE).prefetch(4):
            labels.append(some.numpy())
            bar.update(len(labels[-1]))
    found = np.concatenate(labels)
    if len(found) != sum(records.counts):
        raise ValueError(f"{records.shards[0]} or another shard changed while its records were read.")
    return found


def _labels(serialized):
    return tf.io.parse_example(serialized, {"label": tf.io.FixedLenFeature([], tf.int64)})["label"]
