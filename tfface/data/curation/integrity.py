"""Verification of a dataset: its files, records, labels and images, and its duplicate images."""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterable

from tfface import csv_files, files, json_files
from tfface.data.curation.duplicates import duplicate_groups
from tfface.data.curation.image_hashes import ImageHashes, collect_hashes, hashes_of
from tfface.data.formats.tfrecord_files import scan_records
from tfface.data.images.decoding import check_image
from tfface.data.index_file import INDEX_FILE, read_index
from tfface.data.parallel import Run, map_in_threads, run_here
from tfface.data.records import DATASET_FILE, DatasetInfo
from tfface.data.sources.base import file_state
from tfface.data.sources.records_source import parse_record
from tfface.progress import bar as progress_bar

# A row is (place, key, identity, hashes, size, whether it has landmarks) of a good record, or (place, reason) of a
# problem.
_ROWS = [
    json_files.Either((str, str, str, str, (json_files.POSITIVE, json_files.POSITIVE), bool), (str, str)),
]


@dataclasses.dataclass(frozen=True)
class Verification:
    """The result of `verify_dataset`.

    Args:
      images: number of good records.
      problems: (place, reason) of each problem; a place is the file or `shard:offset`. Empty if the dataset is sound.
      hashes: `ImageHashes` of the good records.
      duplicates: groups of indices into `hashes`; see `tfface.data.curation.duplicates`.
    """

    images: int
    problems: list[tuple[str, str]]
    hashes: ImageHashes
    duplicates: list[list[int]]

    def identities(self, group: Iterable[int]) -> list[str]:
        """Returns the sorted identities of a group; two or more mean that one picture has several names."""
        return sorted({self.hashes.identities[index] for index in group})

    def is_exact(self, group: Iterable[int]) -> bool:
        """Returns whether all images of a group are the same byte for byte."""
        return len({self.hashes.digests[index].tobytes() for index in group}) == 1


def verify_dataset(
    directory: str | os.PathLike, *, workers: int | None = None, progress: bool = False, run: Run | None = None
) -> Verification:
    """Checks a dataset against its description, every record against the schema, and every image by decoding it.

    Args:
      directory: directory of the dataset.
      workers: number of threads; default: the number of processors.
      progress: whether to show a progress bar on stderr.
      run: what reads the shards, such as that of `tfface.data.beam_rows.rows_beside`; default: this process.

    Returns:
      A `Verification`.

    Raises:
      ValueError: if the description is missing or damaged.
      OSError: if a file cannot be read.
    """
    directory = pathlib.Path(directory)
    info = DatasetInfo.load(directory)
    present = [shard for shard in info.shards if (directory / shard.file).is_file()]
    problems = [(shard.file, "missing") for shard in info.shards if shard not in present]
    parts = [[shard.file, *file_state(directory / shard.file)] for shard in present]
    run = run or functools.partial(run_here, workers=workers)
    rows_of_shards = run(
        functools.partial(_checker, directory),
        parts,
        _ROWS,
        lambda: ["verify_dataset", os.path.abspath(directory), files.sha256(directory / DATASET_FILE)],
    )

    keys: dict[str, str] = {}
    sizes, landmarks, rows = set(), 0, []
    with progress_bar(total=info.images, desc=f"verify {info.name}", unit=" images", disable=not progress) as bar:
        for row in itertools.chain.from_iterable(rows_of_shards):
            if len(row) == 2:
                problems.append(tuple(row))
                continue
            bar.update()
            place, key, identity, hashes, size, marked = row
            if key in keys:
                problems.append((place, f"key {key!r} also occurs at {keys[key]}"))
            keys.setdefault(key, place)
            sizes.add(tuple(size))
            landmarks += marked
            rows.append((key, identity, hashes))
    stated = (info.image_size, info.landmarks, info.identities)
    # The label map of another dataset may name people who have no image in this one.
    people = max(info.identities, len({row[1] for row in rows}))
    found = (sizes.pop() if len(sizes) == 1 else None, landmarks, people)
    for name, one, other in zip(("image_size", "landmarks", "identities"), stated, found, strict=True):
        if one != other and not problems:  # With damaged records this would only be a consequence.
            problems.append((DATASET_FILE, f"{name} is {one}, but the images have {other}"))
    if not problems:
        problems += _problems_of_index(directory, info, [row[1] for row in rows])
    found_hashes = collect_hashes(rows, [])
    return Verification(len(rows), problems, found_hashes, duplicate_groups(found_hashes))


def write_report(path: str | os.PathLike, verification: Verification) -> None:
    """Writes a CSV file of problems and duplicates: kind, group, place or key, identity, reason."""
    rows = [("problem", "", place, "", reason) for place, reason in verification.problems]
    for number, group in enumerate(verification.duplicates):
        kind = "same file" if verification.is_exact(group) else "same picture"
        count = len(verification.identities(group))
        for index in group:
            key, identity = verification.hashes.keys[index], verification.hashes.identities[index]
            rows.append((kind, str(number), key, identity, f"{count} identities" if count > 1 else ""))
    csv_files.write_report(path, ["kind", "group", "place", "identity", "reason"], rows)


def _problems_of_index(directory, info, identities):
    """Compares the index, if there is one, with the identities of all records."""
    try:
        index = read_index(str(directory))
    except files.Unreadable as error:
        return [(INDEX_FILE, error.reason)]
    if index is None or info.label_map is None:
        return []
    stated = itertools.chain.from_iterable(labels.tolist() for _, labels in index.values())
    for number, (label, identity) in enumerate(zip(stated, identities, strict=True)):
        if info.label_map[label] != identity:
            return [
                (INDEX_FILE, f"record {number} has label {label}, {info.label_map[label]!r}, but shows {identity!r}")
            ]
    return []


def _checker(directory):
    """Returns a function of a part, a shard, that yields its rows."""
    info = DatasetInfo.load(directory)
    shards = {shard.file: shard for shard in info.shards}

    def check_shard(part, workers):
        shard, count = shards[part[0]], 0

        def records():
            nonlocal count
            for offset, data in scan_records(directory / shard.file):
                count += 1
                yield f"{shard.file}:{offset}", data

        if files.sha256(directory / shard.file) != shard.sha256:
            yield shard.file, f"the SHA-256 differs from that in {DATASET_FILE}"
        yield from map_in_threads(lambda entry: _check(*entry, info), records(), workers)
        if count != shard.images:
            yield shard.file, f"{count} records, but {DATASET_FILE} says {shard.images}"

    return check_shard


def _check(place, data, info):
    """Returns the row of a record."""
    try:
        if isinstance(data, ValueError):
            raise data
        record = parse_record(data)
        if not 0 <= record.label < info.identities or info.label_map[record.label] != record.identity:
            raise ValueError(f"label {record.label} is not that of {record.identity!r} in the label map")
        size = check_image(record.image)
        return place, record.key, record.identity, hashes_of(record.image), size, record.landmarks is not None
    except ValueError as error:
        return place, str(error)
