"""TFRecord files of other programs as a source: any names of the fields, plain or compressed with gzip or zlib."""

import os
import pathlib
import tempfile
import threading
import zlib
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError

from tfface.data.formats.image_files import image_suffix
from tfface.data.formats.recordio import identity_of_label
from tfface.data.formats.text_lists import check_path
from tfface.data.formats.tfrecord_files import count_records, read_record, scan_records
from tfface.data.records import Pattern, resolve_shards
from tfface.data.sources.base import Item, Source, file_state, upright
from tfface.data.sources.file_source import MAX_BAD
from tfface.files import open_regular
from tfface.zip_files import MAX_RATIO

_BLOCK = 1 << 20
_KINDS = {"bytes_list": "bytes", "int64_list": "integers", "float_list": "floats", None: "nothing"}


class TFRecordSource(Source):
    """Images of TFRecord files whose records are `tf.train.Example`s; the place of an item is [file, offset].

    The identity is named by the label: a text as it is, a number with eight digits. Compressed files are unpacked to a
    temporary folder first, because images are read in another order than they are stored in.

    Args:
      pattern: glob of files, or a list of these; only local files.
      image: name of the field with the JPEG or PNG file.
      label: name of the field with the identity, a text or a whole number.
      name: name of the field with the name of the image; default: images are numbered.

    Raises:
      ValueError: if no file matches; by `items`, if a file does not consist of such records.
      OSError: by `items` and `read`, if a file cannot be read.
    """

    def __init__(self, pattern: Pattern, image: str = "image", label: str = "label", name: str | None = None):
        super().__init__()
        self.files = resolve_shards(pattern)
        self.location = os.path.commonpath([os.path.dirname(path) for path in self.files]) or "."
        self._fields = (image, label, name)
        self._lock, self._temporary, self._unpacked = threading.Lock(), None, {}

    def __reduce__(self):
        return type(self), (self.files, *self._fields)

    def items(self) -> Iterator[Item]:
        """Yields the images in the order of the records."""
        self.skipped = []
        self.fingerprint = repr([file_state(path) for path in self.files])
        count = 0
        for number, path in enumerate(self.files):
            for offset, data in scan_records(self._plain(number)):
                count += 1
                place = [number, offset]
                try:
                    if isinstance(data, ValueError):
                        raise data
                    features = _features(data)
                    if count == 1:
                        self._check_fields(path, features)
                    yield self._item(features, count - 1, place)
                except ValueError as error:
                    if count == 1 or len(self.skipped) >= MAX_BAD:
                        raise ValueError(f"{path}: record at byte {offset}: {error}.") from None
                    self.skipped.append((self._name(place), str(error)))

    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item, turned upright."""
        number, offset = item.place
        return upright(_bytes(_features(read_record(self._plain(number), offset)), self._fields[0]))

    def where(self, item: Item) -> str:
        """Names an item by its key, file and offset."""
        return f"{item.key} at {self._name(item.place)}"

    def _name(self, place):
        return f"{os.path.basename(self.files[place[0]])}:{place[1]}"

    def _check_fields(self, path, features):
        for flag, field in zip(("image", "label", "name"), self._fields, strict=True):
            if field is not None and field not in features:
                found = ", ".join(
                    f"{name!r} ({_KINDS[one.WhichOneof('kind')]})" for name, one in sorted(features.items())
                )
                raise ValueError(f"no field {field!r} for the {flag}; the first record of {path} has {found[:500]}")

    def _item(self, features, number, place):
        image, label, name = self._fields
        identity = _identity(features, label)
        if name is None:
            key = f"{number:08d}{image_suffix(_bytes(features, image))}"
        else:
            key = check_path(_text(features, name))
        folder = f"{check_path(identity)}/"
        return Item(key if key.startswith(folder) else folder + key, identity, place)

    def _plain(self, number):
        """Returns the path of a file, or of its unpacked copy."""
        with self._lock:
            if number not in self._unpacked:
                self._unpacked[number] = self._unpack(number)
            return self._unpacked[number]

    def _unpack(self, number):
        path = self.files[number]
        with open_regular(path) as file:
            start = file.read(2)
            # wbits of zlib: 31 reads gzip only, 15 zlib only.
            wbits = 31 if start == b"\x1f\x8b" else 15
            if wbits == 15 and (len(start) < 2 or start[0] & 15 != 8 or int.from_bytes(start, "big") % 31):
                return path
            if wbits == 15 and _is_plain(path):
                return path
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="tfface-")
            target = pathlib.Path(self._temporary.name) / f"{number}.tfrecord"
            file.seek(0)
            try:
                _decompress(file, target, wbits)
            except (zlib.error, ValueError) as error:
                raise ValueError(f"{path}: cannot be unpacked: {error}.") from None
        return str(target)


def _is_plain(path):
    # The length of a plain record can begin with the two bytes that begin zlib data; its checksum tells.
    try:
        count_records(path)
    except ValueError:
        return False
    return True


def _decompress(file, target, wbits):
    """Unpacks a file; a ratio that images do not have is refused before it fills the disk."""
    packed = unpacked = 0
    finished = False
    unpacker = zlib.decompressobj(wbits)
    with open(target, "wb") as output:
        while data := file.read(_BLOCK):
            packed += len(data)
            while data:
                piece = unpacker.decompress(data, _BLOCK)
                unpacked += len(piece)
                if unpacked > _BLOCK + MAX_RATIO * packed:
                    raise ValueError(f"more than {MAX_RATIO} times its size")
                output.write(piece)
                data = unpacker.unconsumed_tail
                if finished := unpacker.eof:
                    data, unpacker = unpacker.unused_data, zlib.decompressobj(wbits)
        if not finished:
            raise ValueError("the file ends within compressed data")


def _features(data):
    try:
        return tf.train.Example.FromString(data).features.feature
    except DecodeError:
        raise ValueError("not a tf.train.Example") from None


def _bytes(features, field):
    values = features[field].bytes_list.value if field in features else ()
    if len(values) != 1:
        raise ValueError(f"field {field!r} has {len(values)} values of bytes, expected 1")
    return values[0]


def _text(features, field):
    try:
        return _bytes(features, field).decode()
    except UnicodeDecodeError:
        raise ValueError(f"field {field!r} is not UTF-8") from None


def _identity(features, field):
    whole = features[field].int64_list.value if field in features else ()
    if len(whole) == 1 and whole[0] >= 0:
        return f"{whole[0]:08d}"  # As `identity_of_label`, but exact beyond what floats hold.
    numbers = whole or (features[field].float_list.value if field in features else ())
    return identity_of_label(float(numbers[0])) if len(numbers) == 1 else _text(features, field)
