"""Whether a dataset is whole: its files, its records, its labels and its images; and which images it has twice."""

import dataclasses
import pathlib

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
    """What `verify_dataset` found.

    Args:
      images: number of good records.
      problems: list of (place, reason), both strings; a place is the file or `shard:offset`. None if all is well.
      hashes: `ImageHashes` of the good records.
      duplicates: list of groups of positions in `hashes`; see `tfface.data.curation.duplicates`.
    """

    images: int
    problems: list
    hashes: ImageHashes
    duplicates: list

    def identities(self, group):
        """Returns the sorted identities of a group; more than one means the same picture under several names."""
        return sorted({self.hashes.identities[position] for position in group})

    def is_exact(self, group):
        """Returns whether the images of a group are the same byte for byte."""
        return len({self.hashes.digests[position].tobytes() for position in group}) == 1


def verify_dataset(directory, *, workers=None, progress=False):
    """Checks a dataset against its description, every record against the schema, and every image by decoding it.

    Args:
      directory: of the dataset.
      workers: number of threads; default: the number of processors.
      progress: whether a progress bar is shown on stderr.

    Returns:
      A `Verification`.

    Raises:
      ValueError: if there is no description, or it is damaged.
      OSError: if a file cannot be read.
    """
    directory = pathlib.Path(directory)
    info = DatasetInfo.load(directory)
    present = [shard for shard in info.shards if (directory / shard.file).is_file()]
    problems = [(shard.file, "missing") for shard in info.shards if shard not in present]
    sums = map_in_threads(lambda shard: files.sha256(directory / shard.file), present, workers)
    problems += [
        (shard.file, f"SHA-256 is not that of {DATASET_FILE}")
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
                problems.append((shard.file, f"{count} records, {DATASET_FILE} says {shard.images}"))

    keys, sizes, landmarks, rows = {}, set(), 0, []
    with progress_bar(total=info.images, desc=f"verify {info.name}", unit=" images", disable=not progress) as bar:
        for place, result in map_in_threads(lambda one: _check(one, info), records(), workers):
            bar.update()
            if isinstance(result, ValueError):
                problems.append((place, str(result)))
                continue
            row, size, marked = result
            if row[0] in keys:
                problems.append((place, f"key {row[0]!r} occurs also at {keys[row[0]]}"))
            keys.setdefault(row[0], place)
            sizes.add(size)
            landmarks += marked
            rows.append(row)
    stated = (info.image_size, info.landmarks, info.identities)
    found = (sizes.pop() if len(sizes) == 1 else None, landmarks, len({row[1] for row in rows}))
    for name, one, other in zip(("image_size", "landmarks", "identities"), stated, found, strict=True):
        if one != other and not problems:  # Of damaged records these are consequences.
            problems.append((DATASET_FILE, f"{name} is {one}, that of the images {other}"))
    hashes = collect_hashes(rows, [])
    return Verification(len(rows), problems, hashes, duplicate_groups(hashes))


def write_report(path, verification):
    """Writes a CSV file of problems and duplicates: kind, group, place or key, identity, reason."""
    rows = [("problem", "", place, "", reason) for place, reason in verification.problems]
    for number, group in enumerate(verification.duplicates):
        kind = "same file" if verification.is_exact(group) else "same picture"
        count = len(verification.identities(group))
        for position in group:
            key, identity = verification.hashes.keys[position], verification.hashes.identities[position]
            rows.append((kind, number, key, identity, f"{count} identities" if count > 1 else ""))
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
