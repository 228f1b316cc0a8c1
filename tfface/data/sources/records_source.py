"""TFRecord datasets as sources: they are read record by record, and every checksum is verified."""

import dataclasses
import os
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError

from tfface.data.formats.tfrecord_files import read_record, scan_records
from tfface.data.records import DATASET_FILE, Pattern, resolve_shards
from tfface.data.sources.base import Item, Source, file_state
from tfface.data.sources.folders import FolderSource


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record of schema version 1; see `tfface.data.records`."""

    key: str
    identity: str
    label: int
    image: bytes
    landmarks: tuple[float, ...] | None


def parse_record(data: bytes) -> Record:
    """Parses one record in Python, strictly.

    Args:
      data: a serialized `tf.train.Example`.

    Returns:
      A `Record`.

    Raises:
      ValueError: if it violates schema version 1; the message is a reason without a file name.
    """
    try:
        feature = tf.train.Example.FromString(data).features.feature
    except DecodeError:
        raise ValueError("not a tf.train.Example") from None

    def values(name, kind, counts):
        found = getattr(feature[name], kind).value if name in feature else ()
        if len(found) not in counts:
            raise ValueError(f"feature {name!r} has {len(found)} values of {kind.removesuffix('_list')}")
        return tuple(found)

    (image,) = values("image", "bytes_list", [1])
    (label,) = values("label", "int64_list", [1])
    try:
        key, identity = (values(name, "bytes_list", [1])[0].decode() for name in ("key", "identity"))
    except UnicodeDecodeError:
        raise ValueError("a name that is not UTF-8") from None
    return Record(key, identity, label, image, values("landmarks", "float_list", [0, 10]) or None)


class RecordsSource(Source):
    """Images of TFRecord datasets; the place of an item is [index of the shard, offset in bytes].

    Args:
      pattern: as for `tfface.data.resolve_shards`, but only for local files.

    Raises:
      ValueError: if shards are missing.
    """

    def __init__(self, pattern: Pattern):
        super().__init__()
        self.shards = resolve_shards(pattern)
        self.location = os.path.commonpath([os.path.dirname(path) for path in self.shards]) or "."

    def items(self) -> Iterator[Item]:
        """Yields the items in the order of the records."""
        self.skipped.clear()
        self.fingerprint = repr([file_state(path) for path in self.shards])
        for number, path in enumerate(self.shards):
            for offset, data in scan_records(path):
                try:
                    if isinstance(data, ValueError):
                        raise data
                    record = parse_record(data)
                except ValueError as error:
                    self.skipped.append((self._name([number, offset]), str(error)))
                else:
                    yield Item(record.key, record.identity, [number, offset], record.landmarks)

    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item."""
        number, offset = item.place
        return parse_record(read_record(self.shards[number], offset)).image

    def where(self, item: Item) -> str:
        """Names an item by its key, shard and offset."""
        return f"{item.key} at {self._name(item.place)}"

    def _name(self, place):
        return f"{os.path.basename(self.shards[place[0]])}:{place[1]}"


def open_source(location: str, depth: int = 1) -> Source:
    """Opens a dataset or a folder of images.

    Args:
      location: directory of a dataset, glob of its shards, or folder `root/identity/.../image.jpg`.
      depth: number of folders that name an identity, if it is a folder.

    Returns:
      A `RecordsSource` or a `FolderSource`.

    Raises:
      ValueError: if shards are missing.
    """
    folder = os.path.isdir(location) and not os.path.exists(os.path.join(location, DATASET_FILE))
    return FolderSource(location, depth=depth) if folder else RecordsSource(location)
