"""Writing shards: every image is read once, checked and stored in one pass, and a finished shard is never redone.

A shard grows under a name of its own, and only once it is complete on the disk takes its name and gets a note beside
it, `SHARD.json`. So a shard with a note is whole, wherever the work was cut off; one without is written anew.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import os
import secrets

import tensorflow as tf

from tfface import json_files
from tfface.data.images.decoding import check_image
from tfface.data.parallel import map_in_threads
from tfface.files import write_atomically
from tfface.json_files import COUNT, POSITIVE

_NOTE = {
    "plan": str,
    "images": COUNT,
    "sha256": str,
    "sizes": [(POSITIVE, POSITIVE)],
    "landmarks": COUNT,
    "bad": [(str, str)],
}


@dataclasses.dataclass(frozen=True)
class ShardNote:
    """What is known of a finished shard.

    Args:
      plan: digest of the `ShardPlan`.
      images: number of images.
      sha256: of the file, in hexadecimal.
      sizes: the different [height, width] in it, at most two.
      landmarks: number of images with landmarks.
      bad: [key, reason] of the items that are not in it.
    """

    plan: str
    images: int
    sha256: str
    sizes: list
    landmarks: int
    bad: list


def write_shards(source, shards, advance, *, workers=None):
    """Writes shards one after the other, while threads read and check the images ahead.

    Args:
      source: the `Source`.
      shards: `ShardPlan`s.
      advance: function that is called with the number of images done since the last call.
      workers: number of threads; default: the number of processors.

    Yields:
      The `ShardNote` of every shard, in order.

    Raises:
      OSError: if a file cannot be written.
    """
    entries = ((item, shard.labels[item.identity]) for shard in shards for item in shard.items)
    finishing = collections.deque()
    with (
        concurrent.futures.ThreadPoolExecutor(1) as finisher,
        contextlib.closing(map_in_threads(lambda entry: _encode(source, *entry), entries, workers)) as records,
    ):
        for shard in shards:
            stored = _store(shard, itertools.islice(records, len(shard.items)), advance)
            # Meanwhile the threads go on with the next shard.
            finishing.append(finisher.submit(_finish, shard, *stored))
            while finishing and finishing[0].done():
                yield finishing.popleft().result()
        while finishing:
            yield finishing.popleft().result()


def write_shard(source, shard):
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
    return _finish(shard, *_store(shard, records, lambda done: None))


def read_note(shard):
    """Returns the `ShardNote` of a `ShardPlan` that is finished, else None."""
    try:
        note = ShardNote(**json_files.read(_note_path(shard), _NOTE))
    except (OSError, ValueError):
        return None
    return note if note.plan == shard.digest and shard.path.exists() else None


def _note_path(shard):
    return shard.path.with_name(f"{shard.path.name}.json")


def _encode(source, item, label):
    """Returns (item, serialized record, (height, width)), or (item, None, reason) of a bad image."""
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
    # The order of a protobuf map is arbitrary unless asked for.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _store(shard, records, advance):
    """Writes records under a temporary name; returns that and all of the note but the checksum."""
    # No other attempt shares the name, be it of a killed process that lives on or of a second machine.
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
    return temporary, {"images": images, "sizes": sorted(map(list, sizes)), "landmarks": landmarks, "bad": bad}


def _finish(shard, temporary, content):
    """Gives a complete shard its name and its note."""
    note = ShardNote(plan=shard.digest, sha256=_sync_and_hash(temporary), **content)
    _note_path(shard).unlink(missing_ok=True)  # Perhaps of another plan, whose shard is replaced now.
    temporary.replace(shard.path)
    write_atomically(_note_path(shard), json.dumps(dataclasses.asdict(note)).encode())
    return note


def _sync_and_hash(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
