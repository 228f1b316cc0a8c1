"""Datasets of TFRecord shards: the record schema, the description beside the shards, and finding shards.

A dataset is a directory of shards `NAME-00000-of-000NN.tfrecord` and a file `dataset.json`. That file is written last:
if it is present, the dataset is complete. A record is a `tf.train.Example`; in schema version 1 its features are:

| feature     | type       | content                                                                              |
|-------------|------------|--------------------------------------------------------------------------------------|
| `image`     | bytes      | the JPEG or PNG file, byte for byte as in the source unless EXIF had to turn it       |
| `label`     | int64      | index of the identity in `label_map`                                                 |
| `identity`  | bytes      | name of the identity, UTF-8                                                          |
| `key`       | bytes      | path of the image below the source's root, UTF-8 with `/`: `001/frontal/01.jpg`      |
| `landmarks` | float × 10 | x1, y1, ..., x5, y5 in pixels (eyes, nose, mouth corners); absent if unknown         |

Records are ordered by the SHA-256 of their key. So consecutive records mix identities, and equal inputs give equal
bytes.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfface import json_files
from tfface.data.formats.shard_names import parse_shard_name, shard_name
from tfface.data.formats.tfrecord_files import record_lengths
from tfface.data.parallel import map_in_threads
from tfface.json_files import COUNT, POSITIVE, Either, Number

SCHEMA_VERSION = 1
DATASET_FILE = "dataset.json"
_FILES_AT_ONCE = 8

# A dataset directory, a glob of TFRecord files, or several of these.
Pattern: TypeAlias = str | os.PathLike | Iterable[str | os.PathLike]

_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "identity": tf.io.FixedLenFeature([], tf.string),
    "key": tf.io.FixedLenFeature([], tf.string),
    "landmarks": tf.io.FixedLenFeature([5, 2], tf.float32, default_value=[[float("nan")] * 2] * 5),
}


# Programs that convert files of other kinds, and how such files begin; TFRecord files may have the last two extensions.
_CONVERTED = {
    ".csv": ("from-list", b""),
    ".lst": ("from-list", b""),
    ".zip": ("from-zip", b"PK"),
    ".bin": ("from-bin", b"\x80"),
    ".rec": ("from-recordio", b"\x0a\x23\xd7\xce"),
}

_FORM = {
    "schema_version": Number(SCHEMA_VERSION, SCHEMA_VERSION),
    "name": str,
    "images": POSITIVE,
    "identities": POSITIVE,
    "image_size": Either(None, (POSITIVE, POSITIVE)),
    "landmarks": COUNT,
    "label_map": [str],
    "shards": [{"file": str, "images": POSITIVE, "sha256": str}],
}


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a dataset: its name without a directory, its number of images, and its SHA-256 in hexadecimal."""

    file: str
    images: int
    sha256: str

    def __post_init__(self):
        if not (parse_shard_name(str(self.file)) and os.path.basename(self.file) == self.file and self.images > 0):
            raise ValueError(f"{repr(self)[:200]} is not a valid shard")


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The content of `dataset.json`.

    Args:
      name: first part of the shards' file names.
      images: number of images.
      identities: number of identities.
      image_size: (height, width) in pixels if all images have the same size, else None.
      landmarks: number of images with known landmarks.
      label_map: identity names, sorted; the index of a name is its label.
      shards: `Shard`s in order.

    Raises:
      ValueError: if the counts are inconsistent.
    """

    name: str
    images: int
    identities: int
    image_size: tuple[int, int] | None
    landmarks: int
    label_map: tuple[str, ...] = dataclasses.field(repr=False)
    shards: tuple[Shard, ...] = dataclasses.field(repr=False)

    def __post_init__(self):
        if self.images != sum(shard.images for shard in self.shards):
            raise ValueError(f"images is {self.images}, but the shards hold {sum(s.images for s in self.shards)}")
        if self.landmarks > self.images:
            raise ValueError(f"landmarks is {self.landmarks}, but there are {self.images} images")
        if not self.identities == len(self.label_map) == len(set(self.label_map)):
            raise ValueError(f"identities is {self.identities}, but label_map has {len(set(self.label_map))} names")

    @classmethod
    def load(cls, location: str | os.PathLike) -> "DatasetInfo":
        """Reads the description of a dataset.

        Args:
          location: directory of the dataset, or a file or glob in it.

        Returns:
          A `DatasetInfo`.

        Raises:
          ValueError: if there is none, or it is damaged or of another schema version.
        """
        location = os.fspath(location)
        directory = location if tf.io.gfile.isdir(location) else os.path.dirname(location)
        path = os.path.join(directory, DATASET_FILE)
        if not tf.io.gfile.exists(path):
            raise ValueError(
                f"{directory or '.'} holds no {DATASET_FILE}: it is not a (complete) dataset. A folder of images "
                f"becomes one by: tfface records from-folder --input={directory or '.'} --output=records"
            )
        content = _read_description(path)
        del content["schema_version"]
        try:
            content["shards"] = tuple(Shard(**shard) for shard in content["shards"])
            content["label_map"] = tuple(content["label_map"])
            content["image_size"] = content["image_size"] and tuple(content["image_size"])
            return cls(**content)
        except ValueError as error:
            raise ValueError(f"{path} does not describe a dataset: {error}.") from error

    def to_json(self) -> str:
        """Returns the text of `dataset.json`."""
        content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def resolve_shards(pattern: Pattern) -> list[str]:
    """Finds the shards that match a pattern, and checks that none is missing.

    Args:
      pattern: directory of a dataset, glob of files, or a list of these.

    Returns:
      Sorted list of paths.

    Raises:
      ValueError: if nothing matches, a shard `...-of-NNNNN` is missing, or a directory is not a complete dataset.
    """
    patterns = [pattern] if isinstance(pattern, str | os.PathLike) else list(pattern)
    if not patterns:
        raise ValueError(f"expected a dataset directory or a glob, got {pattern!r}.")
    paths, needed = set(), set()
    for one in [os.fspath(one) for one in patterns]:
        if tf.io.gfile.isdir(one):
            found = [os.path.join(one, file) for file in tf.io.gfile.listdir(one)]
            needed |= {os.path.join(one, shard.file) for shard in DatasetInfo.load(one).shards}
            paths |= needed & set(found)
        else:
            found = tf.io.gfile.glob(one)
            if not found:
                raise ValueError(f"no file matches {one!r}.")
            paths |= set(found)
    for path in list(paths):
        _refuse_other_kind(path)
        if shards := parse_shard_name(path):
            needed |= {shard_name(shards.name, index, shards.total) for index in range(shards.total)}
    if missing := sorted(needed - paths):
        raise ValueError(f"shard {missing[0]} is missing" + (f", and {len(missing) - 1} more." if missing[1:] else "."))
    return sorted(paths)


def _refuse_other_kind(path):
    """Raises ValueError for a file that another program makes records of."""
    program, start = _CONVERTED.get(os.path.splitext(path)[1].lower(), ("", b""))
    if program:
        with tf.io.gfile.GFile(path, "rb") as file:
            if not start or file.read(len(start)) == start:
                raise ValueError(
                    f"{path} is not a TFRecord file. It becomes a dataset by: tfface records {program} --input={path} "
                    "--output=records"
                )


def stated_shards(shards: Iterable[str]) -> dict[str, Shard]:
    """Returns {path: `Shard`} for the shards that a `dataset.json` beside them lists."""
    return {
        os.path.join(directory, shard.file): shard
        for directory, info in _descriptions(shards).items()
        for shard in info.shards
    }


def check_count(path: str, found: int, stated: Shard | None) -> None:
    """Raises ValueError unless a shard holds as many records as `dataset.json` states (None: it states nothing)."""
    if stated is not None and stated.images != found:
        raise ValueError(f"{path} holds {found} records, but {DATASET_FILE} says {stated.images}.")


def count_images(shards: Sequence[str]) -> list[int]:
    """Counts the images of shards, and checks the lengths of their records so that TensorFlow can read them safely.

    Args:
      shards: list of paths.

    Returns:
      Number of images per shard.

    Raises:
      ValueError: if the length of a record is wrong, or `dataset.json` states another number of images; the message
        names the shard.
    """
    return list(map(len, read_lengths(shards)))


def read_lengths(shards: Sequence[str]) -> list[np.ndarray]:
    """Does the same, and returns the number of bytes in the data of every record, one uint32 array per shard."""
    stated = stated_shards(shards)
    lengths = list(map_in_threads(_lengths, shards, min(len(shards), _FILES_AT_ONCE)))
    for path, found in zip(shards, lengths, strict=True):
        check_count(path, len(found), stated.get(path))
    return lengths


def _lengths(path):
    return np.fromiter(record_lengths(path), np.uint32)


def common_labels(shards: Iterable[str]) -> tuple[str, tuple[str, ...]] | None:
    """Finds the label map that shards share.

    Returns:
      (directory of the first dataset, names of the identities in the order of their labels); None if no `dataset.json`
      states them.

    Raises:
      ValueError: if the shards belong to datasets with different label maps.
    """
    described = list(_descriptions(shards).items())
    if not described:
        return None
    (first, info), *others = described
    for directory, other in others:
        if other.label_map != info.label_map:
            raise ValueError(f"{first} and {directory} have different label maps: merge them into one dataset first.")
    return first or ".", info.label_map


def common_size(shards: Iterable[str]) -> tuple[int, int] | None:
    """Returns (height, width) in pixels if a `dataset.json` states it for the images of every shard, else None."""
    described = _descriptions(shards)
    listed = {os.path.join(directory, shard.file) for directory, info in described.items() for shard in info.shards}
    sizes = {info.image_size for info in described.values()}
    return sizes.pop() if len(sizes) == 1 and listed.issuperset(shards) else None


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses one record or a batch of records; a graph function. A batch is many times faster.

    Args:
      serialized: string [] or [B], serialized `tf.train.Example`s of schema version 1.

    Returns:
      Dict of `image` string, `label` int64, `identity` string and `key` string, [] or [B], and `landmarks` float32
      [5, 2] or [B, 5, 2] (x, y in pixels; NaN if unknown).
    """
    return tf.io.parse_example(serialized, _FEATURES)


def _read_description(path):
    """Returns the content of `dataset.json`, from a local file or from another file system of TensorFlow."""
    if "://" not in path:
        return json_files.read(path, _FORM)
    if (size := tf.io.gfile.stat(path).length) > json_files.MAX_BYTES:
        raise ValueError(f"{path}: expected at most {json_files.MAX_BYTES >> 20} MB, got {size} bytes.")
    with tf.io.gfile.GFile(path, "rb") as file:
        return json_files.parse(file.read(), path, _FORM)


def _descriptions(shards):
    directories = sorted({os.path.dirname(path) for path in shards})
    described = [one for one in directories if tf.io.gfile.exists(os.path.join(one, DATASET_FILE))]
    return {directory: DatasetInfo.load(directory or ".") for directory in described}
