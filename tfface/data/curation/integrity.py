"""Verification of a dataset: its files, records, labels and images, and its duplicate images."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable

from tfface import csv_files, files
from tfface.data.curation.duplicates import duplicate_groups
from tfface.data.curation.image_hashes import ImageHashes, collect_hashes, digest, perceptual_hash
from tfface.data.formats.tfrecord_files import scan_records
from tfface.data.images.decoding import check_image
from tfface.data.parallel import map_in_threads
from tfface.data.records import DATASET_FILE, DatasetInfo
from tfface.data.sources.records_source import parse_record
from tfface.progress import bar as progress_bar


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


def verify_dataset(directory: str | os.PathLike, *, workers: int | None = None, progress: bool = False) -> Verification:
    """Checks a dataset against its description, every record against the schema, and every image by decoding it.

    Args:
      directory: directory of the dataset.
      workers: number of threads; default: the number of processors.
      progress: whether to show a progress bar on stderr.

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
    sums = map_in_threads(lambda shard: files.sha256(directory / shard.file), present, workers)
    problems += [
        (shard.file, f"the SHA-256 differs from that in {DATASET_FILE}")
        for shard, found in zip(present, sums, strict=True)
        if found != shard.sha256
    ]

    def records():
        for shard in present:
            count = 0
            for offset, data in scan_records(directory / shard.file):
                count += 1
                yield f"{shard.file}:{offset}", data
            if count != shard.images:
                problems.append((shard.file, f"{count} records, but {DATASET_FILE} says {shard.images}"))

    keys: dict[str, str] = {}
    sizes, landmarks, rows = set(), 0, []
    with progress_bar(total=info.images, desc=f"verify {info.name}", unit=" images", disable=not progress) as bar:
        for place, result in map_in_threads(lambda one: _check(one, info), records(), workers):
            bar.update()
            if isinstance(result, ValueError):
                problems.append((place, str(result)))
                continue
            row, size, marked = result
            if row[0] in keys:
                problems.append((place, f"key {row[0]!r} also occurs at {keys[row[0]]}"))
            keys.setdefault(row[0], place)
            sizes.add(size)
            landmarks += marked
            rows.append(row)
    stated = (info.image_size, info.landmarks, info.identities)
    # The label map of another dataset may name people who have no image in this one.
    people = max(info.identities, len({row[1] for row in rows}))
    found = (sizes.pop() if len(sizes) == 1 else None, landmarks, people)
    for name, one, other in zip(("image_size", "landmarks", "identities"), stated, found, strict=True):
        if one != other and not problems:  # With damaged records this would only be a consequence.
            problems.append((DATASET_FILE, f"{name} is {one}, but the images have {other}"))
    hashes = collect_hashes(rows, [])
    return Verification(len(rows), problems, hashes, duplicate_groups(hashes))


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


def _check(entry, info):
    """Returns (place, (row of hashes, size, whether it has landmarks)), or (place, ValueError)."""
    place, data = entry
    try:
        if isinstance(data, ValueError):
            raise data
        record = parse_record(data)
        if not 0 <= record.label < info.identities or info.label_map[record.label] != record.identity:
            raise ValueError(f"label {record.label} is not that of {record.identity!r} in the label map")
        size = check_image(record.image)
        row = record.key, record.identity, digest(record.image), perceptual_hash(record.image)
        return place, (row, size, record.landmarks is not None)
    except ValueError as error:
        return place, error
