"""Writing shards: one pass reads, checks and stores every image, and a finished shard is never written again.

A shard is written under a temporary name. Once it is complete on the disk, it gets its final name and a note beside it,
`SHARD.json`. So a shard with a note is complete, whenever the work was interrupted; one without a note is written
again.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import errno
import itertools
import json
import os
import secrets
from collections.abc import Callable, Generator, Sequence

import tensorflow as tf

from tfface import files, json_files
from tfface.data.conversion.plan import ShardPlan
from tfface.data.images.decoding import check_image
from tfface.data.parallel import map_in_threads
from tfface.data.sources.base import Source
from tfface.json_files import COUNT, POSITIVE

_NOTE = {
    "plan": str,
    "images": COUNT,
    "sha256": str,
    "sizes": [(POSITIVE, POSITIVE)],
    "landmarks": COUNT,
    "cut_off": [str],
    "bad": [(str, str)],
}


@dataclasses.dataclass(frozen=True)
class ShardNote:
    """The content of a finished shard.

    Args:
      plan: digest of the `ShardPlan`.
      images: number of images.
      sha256: SHA-256 of the file, in hexadecimal.
      sizes: the different [height, width] of its images, at most two.
      landmarks: number of images with landmarks.
      cut_off: keys of the images that `Source.cut_off` names.
      bad: [key, reason] of the items that were left out.
    """

    plan: str
    images: int
    sha256: str
    sizes: list[list[int]]
    landmarks: int
    cut_off: list[str]
    bad: list[list[str]]


def write_shards(
    source: Source, shards: Sequence[ShardPlan], advance: Callable[[int], object], *, workers: int | None = None
) -> Generator[ShardNote, None, None]:
    """Writes shards one after the other, while threads read and check the images ahead.

    Args:
      source: the `Source`.
      shards: `ShardPlan`s.
      advance: progress callback, called with the number of images done since the last call.
      workers: number of threads; default: the number of processors.

    Yields:
      The `ShardNote` of every shard, in order.

    Raises:
      OSError: if a file cannot be written.
    """
    entries = ((item, shard.labels[item.identity]) for shard in shards for item in shard.items)
    finishing: collections.deque[concurrent.futures.Future[ShardNote]] = collections.deque()
    with (
        concurrent.futures.ThreadPoolExecutor(1) as finisher,
        contextlib.closing(map_in_threads(lambda entry: _encode(source, *entry), entries, workers)) as records,
    ):
        for shard in shards:
            stored = _store(source, shard, itertools.islice(records, len(shard.items)), advance)
            # Meanwhile the threads continue with the next shard.
            finishing.append(finisher.submit(_finish, shard, *stored))
            while finishing and finishing[0].done():
                yield finishing.popleft().result()
        while finishing:
            yield finishing.popleft().result()


def write_shard(source: Source, shard: ShardPlan) -> ShardNote:
    """Writes one shard in this thread.

    Args:
      source: the `Source`.
      shard: a `ShardPlan`.

    Returns:
      Its `ShardNote`.

    Raises:
      OSError: if the file cannot be written.
    """
    records = (_encode(source, item, shard.labels[item.identity]) for item in shard.items)
    return _finish(shard, *_store(source, shard, records, lambda done: None))


def read_note(shard: ShardPlan) -> ShardNote | None:
    """Returns the `ShardNote` of a `ShardPlan`, or None if the shard is not finished."""
    try:
        note = ShardNote(**json_files.read(_note_path(shard), _NOTE))
    except (OSError, ValueError):
        return None
    return note if note.plan == shard.digest and shard.path.exists() else None


def _note_path(shard):
    return shard.path.with_name(f"{shard.path.name}.json")


def _encode(source, item, label):
    """Returns (item, serialized record, (height, width)), or (item, None, reason) for a bad image."""
    try:
        data = source.read(item)
        size = check_image(data)
        return item, _serialize(item, label, data), size
    except OSError as error:
        return item, None, error.strerror or str(error)
    except ValueError as error:
        return item, None, str(error)


def _serialize(item, label, data):
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "identity": tf.train.Feature(bytes_list=tf.train.BytesList(value=[item.identity.encode()])),
        "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[item.key.encode()])),
    }
    if item.landmarks is not None:
        feature["landmarks"] = tf.train.Feature(float_list=tf.train.FloatList(value=item.landmarks))
    # By default the order of a protobuf map is arbitrary.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _store(source, shard, records, advance):
    """Writes records under a temporary name; returns that name and the note's content except plan and checksum."""
    # The name is random, because another process or machine may be writing the same shard.
    temporary = shard.path.with_name(f"{shard.path.name}.{secrets.token_hex(4)}.tmp")
    sizes, bad, landmarks = set(), [], 0
    try:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for item, record, result in records:
                advance(1)
                if record is None:
                    bad.append([item.key, result])
                    continue
                writer.write(record)
                landmarks += item.landmarks is not None
                if len(sizes) < 2:
                    sizes.add(result)
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(shard.path)) from error
    except tf.errors.OpError as error:
        raise OSError(f"{shard.path}: {error.message.split(';')[-1].strip()}.") from error
    images = len(shard.items) - len(bad)
    cut_off = [item.key for item in shard.items if item.key in source.cut_off]
    content = {"images": images, "sizes": sorted(map(list, sizes)), "landmarks": landmarks}
    return temporary, {**content, "cut_off": cut_off, "bad": bad}


def _finish(shard, temporary, content):
    """Gives a complete shard its final name and its note."""
    note = ShardNote(plan=shard.digest, sha256=_sync_and_hash(temporary), **content)
    _note_path(shard).unlink(missing_ok=True)  # An older note may describe the shard that is replaced now.
    temporary.replace(shard.path)
    files.write_atomically(_note_path(shard), json.dumps(dataclasses.asdict(note)).encode())
    return note


def _sync_and_hash(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    return files.sha256(path)
