"""Opening TFRecord datasets: `open_records` comes before every reader.

The lengths of all records are checked before TensorFlow sees a file. Their data are not, because that would read every
file twice. If damaged data stop a program, `naming_bad_records` finds the record. With `skip_bad` all records are
checked first, and the bad ones are left out.

Where a dataset has an index, `open_records` takes the lengths from it, and only TensorFlow's reader, which trusts the
lengths in the files, makes `Records` read them there.
"""

import bisect
import contextlib
import dataclasses
import itertools
import os
import pathlib
import time
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfface import files, progress
from tfface.data.formats.left_out import summary
from tfface.data.formats.tfrecord_files import RestLost, read_records, scan_records
from tfface.data.images.decoding import check_image
from tfface.data.index_file import read_index
from tfface.data.parallel import map_in_threads
from tfface.data.record_index import RecordIndex
from tfface.data.records import (
    DATASET_FILE,
    Pattern,
    check_count,
    common_size,
    count_images,
    parse_example,
    read_lengths,
    resolve_shards,
    stated_shards,
)
from tfface.data.sources.records_source import parse_record

_NAMED = 5  # Bad records to name on stderr.
_QUIET_SECONDS = 5  # A short reading of lengths needs no note.


@dataclasses.dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used, or the rest of a shard after a wrong length.

    Args:
      shard: path of the file.
      number: index of the record in the shard, from 0.
      offset: start of the record in the file, in bytes.
      reason: why it is bad, without a full stop.
      key: key of the image; None if unknown.
      rest_lost: whether the rest of the shard cannot be read either.
    """

    shard: str
    number: int
    offset: int
    reason: str
    key: str | None = None
    rest_lost: bool = False

    def __str__(self) -> str:
        key = "" if self.key is None else f" (key {self.key!r})"
        return f"{self.shard}: record {self.number} at byte {self.offset}{key}: {self.reason}"


@dataclasses.dataclass(frozen=True, repr=False)
class Records:
    """Checked shards, ready to be read; `open_records` makes them.

    Args:
      shards: paths, in order.
      counts: number of records to read from each shard.
      bad: the `BadRecord`s that are left out.
      good: dict from the path of each shard with bad records to the offsets of its good ones.
      index: `RecordIndex` of the records to read; None: they can only be read in their order.
      lengths_checked: whether the lengths in the files have been read; otherwise they are those of an index file.
    """

    shards: tuple[str, ...]
    counts: tuple[int, ...]
    bad: tuple[BadRecord, ...] = ()
    good: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    index: RecordIndex | None = dataclasses.field(default=None, compare=False)
    lengths_checked: bool = dataclasses.field(default=True, compare=False)

    def __repr__(self) -> str:
        """Returns one line without the shards, which may be many."""
        return f"Records({sum(self.counts)} in {len(self.shards)} shards, {len(self.bad)} left out)"

    @property
    def random_access(self) -> RecordIndex:
        """The index of the records; raises ValueError if there is none."""
        if self.index is None:
            raise ValueError(f"{self} have no index: open them with open_records.")
        return self.index

    def left_out(self) -> dict:
        """Returns what reports say of the bad records that are left out: JSON values, nothing where there are none."""
        if not self.bad:
            return {}
        return {"left out": {"count": len(self.bad), "summary": self.summary(), "records": list(map(str, self.bad))}}

    def summary(self) -> str:
        """Returns how many records are read and how many are left out, with the reasons by kind."""
        return summary(sum(self.counts), [(f"record {bad.number} of {bad.shard}", bad.reason) for bad in self.bad])

    def read(self, path: "str | tf.Tensor") -> tf.data.Dataset:
        """Returns the `tf.data.Dataset` of the serialized records of one shard; a graph function of its path.

        `check_lengths` must have been called, outside of the graph.
        """
        if not self.good:
            return tf.data.TFRecordDataset(path)
        damaged = tf.reduce_any(path == tf.constant(list(self.good)))
        whole, partial = tf.boolean_mask([path], [~damaged]), tf.boolean_mask([path], [damaged])
        return tf.data.TFRecordDataset(whole).concatenate(
            tf.data.Dataset.from_tensor_slices(partial).flat_map(self._read_good)
        )

    def read_all(self) -> tf.data.Dataset:
        """Returns the `tf.data.Dataset` of all serialized records, shard by shard."""
        self.check_lengths()
        if not self.good:
            return tf.data.TFRecordDataset(list(self.shards))
        return tf.data.Dataset.from_tensor_slices(list(self.shards)).flat_map(self.read)

    def read_range(self, start: int, stop: int) -> tf.data.Dataset:
        """Returns the `tf.data.Dataset` of the serialized records from `start` to before `stop`, as `read_all` does."""
        part, before = self.around(start, stop)
        return part.read_all().skip(before).take(stop - start)

    def around(self, start: int, stop: int) -> "tuple[Records, int]":
        """Finds the shards that hold a range of the records.

        Args:
          start, stop: int, 0 <= start < stop <= number of all records.

        Returns:
          (`Records` of these shards, the number of records in them before `start`).
        """
        self.check_lengths()
        ends = list(itertools.accumulate(self.counts))
        first, last = bisect.bisect_right(ends, start), bisect.bisect_left(ends, stop) + 1
        shards = self.shards[first:last]
        bad = tuple(record for record in self.bad if record.shard in shards)
        good = {shard: self.good[shard] for shard in shards if shard in self.good}
        return Records(shards, self.counts[first:last], bad, good), start - sum(self.counts[:first])

    def check_lengths(self) -> None:
        """Reads the lengths in the files, unless that has been done: TensorFlow's reader would trust any length.

        Raises:
          ValueError: one is wrong; the message names the shard.
        """
        if not self.lengths_checked:
            count_images(self.shards)
            object.__setattr__(self, "lengths_checked", True)

    def _read_good(self, path):
        spec = tf.TensorSpec([], tf.string)
        return tf.data.Dataset.from_generator(
            lambda path: read_records(path.decode(), self.good[path.decode()]), output_signature=spec, args=[path]
        )


Shards: TypeAlias = Pattern | Records


def open_records(shards: Shards, *, skip_bad: bool = False, by_index: bool = True) -> Records:
    """Finds shards and checks that TensorFlow can read them safely.

    Without `skip_bad` only the lengths of the records are checked, or taken from the index of the dataset. With it
    every record is read and every image is decoded. Skipped records are counted on stderr, and the first few are named.

    Args:
      shards: dataset directory, glob of TFRecord files, or a list of these; `Records` are returned as they are.
      skip_bad: whether to leave out records that are damaged, violate the schema, or hold an image that cannot be
        decoded.
      by_index: whether the index of a dataset may take the place of the lengths in its shards.

    Returns:
      The `Records`.

    Raises:
      ValueError: if shards are missing, `dataset.json` states another number of records, or, without `skip_bad`, the
        length of a record is wrong; the message names the shard.
    """
    if isinstance(shards, Records):
        return shards
    paths = resolve_shards(shards)
    if not skip_bad:
        return _open_all(paths, by_index)
    stated, size = stated_shards(paths), common_size(paths)
    counts, bad, good, all_offsets, all_lengths = [], [], {}, [], []
    with progress.bar(
        total=sum(shard.images for shard in stated.values()) or None, desc="check records", unit=" images"
    ) as bar:
        for path in paths:
            offsets, lengths, found = [], [], []
            for offset, length, record in _check_shard(path, size):
                if record is None:
                    offsets.append(offset)
                    lengths.append(length)
                else:
                    found.append(record)
                bar.update()
            if not (found and found[-1].rest_lost):
                check_count(path, len(offsets) + len(found), stated.get(path))
            elif path in stated and (lost := max(0, stated[path].images - found[-1].number)):
                reason = f"{found[-1].reason}, {lost} of the records that {DATASET_FILE} states"
                found[-1] = dataclasses.replace(found[-1], reason=reason)
            counts.append(len(offsets))
            all_offsets.append(np.array(offsets, np.int64))
            all_lengths.append(np.array(lengths, np.uint32))
            bad += found
            if found:
                good[path] = offsets
    index = RecordIndex.of(paths, all_lengths, all_offsets)
    records = Records(tuple(paths), tuple(counts), tuple(bad), good, index)
    for record in bad[:_NAMED]:
        progress.note(f"left out {record}.")
    if bad:
        progress.note(f"{records.summary()}.")
    return records


def write_skipped(path: str | os.PathLike, *datasets: Records) -> None:
    """Writes the bad records that were left out, one per line; if there are none, it removes an older file."""
    bad = [record for records in datasets for record in records.bad]
    if bad:
        files.write_atomically(path, "".join(f"{record}\n" for record in bad).encode(errors="replace"))
    else:
        pathlib.Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def naming_bad_records(shards: Shards | None) -> Iterator[None]:
    """Context manager that names the damaged record if iteration over a dataset fails inside its block.

    It reads the records again to find the damaged one. It decodes images only if nothing else is wrong.

    Args:
      shards: as for `open_records`; None, for a dataset without records, changes nothing.

    Raises:
      ValueError: if a record is damaged; the message names the shard, the index of the record, its offset, its key if
        known, and the reason.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:
        # Other operations may fail too, for example a head's on a wrong label. That is no reason to read all records.
        marks = ("Iterator::", "PyFunc")  # Of transformations of tf.data, and of readers in Python.
        of_input = not isinstance(error, tf.errors.InvalidArgumentError) or any(mark in error.message for mark in marks)
        if shards is not None and of_input and (record := _first_bad_record(shards)):
            raise ValueError(f"{record} (skip_bad leaves such records out).") from error
        raise


def _first_bad_record(shards):
    known = shards.bad if isinstance(shards, Records) else ()
    paths = shards.shards if isinstance(shards, Records) else resolve_shards(shards)
    size = common_size(paths)
    for decode in (False, True):
        for path in paths:
            for *_, record in _check_shard(path, size, decode):
                if record is not None and record not in known:
                    return record
    return None


def _check_shard(path, size, decode=True):
    """Yields (offset, length, None) for every good record of a shard and (offset, 0, `BadRecord`) for the others.

    `size` is the (height, width) that the dataset states for all images, or None.
    """

    def check(entry):
        number, (offset, data) = entry
        if isinstance(data, ValueError):
            return offset, 0, BadRecord(path, number, offset, str(data), rest_lost=isinstance(data, RestLost))
        try:
            record = parse_record(data)
        except ValueError as error:
            return offset, 0, BadRecord(path, number, offset, str(error))
        try:
            if decode:
                found = check_image(record.image)
                if size not in (None, found):
                    found, stated = ("{1} x {0}".format(*one) for one in (found, size))
                    raise ValueError(f"the image has {found} pixels, but {DATASET_FILE} states {stated} for all")
                parse_example(data)  # TensorFlow and the Python parser may disagree on a forged record.
        except ValueError as error:
            return offset, 0, BadRecord(path, number, offset, str(error), record.key)
        except tf.errors.OpError:
            return offset, 0, BadRecord(path, number, offset, "TensorFlow cannot parse it", record.key)
        return offset, len(data), None

    return map_in_threads(check, enumerate(scan_records(path)))


def _open_all(paths, by_index):
    """Opens shards with all of their records, by the index files beside them if there are such."""
    lengths = _indexed_lengths(paths) if by_index else None
    checked = lengths is None
    if lengths is None:
        start = time.monotonic()
        lengths = read_lengths(paths)
        if time.monotonic() - start > _QUIET_SECONDS:
            folder = os.path.dirname(paths[0]) or "."
            progress.note(
                f"{folder} has no index, so the length of every record was read from the shards; "
                f"tfface records index --input={folder} writes one."
            )
    counts = tuple(map(len, lengths))
    return Records(tuple(paths), counts, index=RecordIndex.of(paths, lengths), lengths_checked=checked)


def _indexed_lengths(paths):
    """Returns the lengths of the records of each shard, or None if an index is absent or belongs to other shards."""
    known = {}
    for directory in sorted(set(map(os.path.dirname, paths))):
        try:
            found = read_index(directory)
        except ValueError as error:
            # Without it, nothing but time is lost. If a shard is damaged, reading the shards tells where.
            progress.note(f"{error} It is not used; tfface records index --input={directory or '.'} writes another.")
            return None
        known |= {path: lengths for path, (lengths, _) in (found or {}).items()}
    return [known[path] for path in paths] if known.keys() >= set(paths) else None
