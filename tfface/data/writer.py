"""Writing a dataset of TFRecord shards, reproducibly and all or nothing."""

import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import math
import os
import pathlib
import re
import threading

import tensorflow as tf

from tfface.data.records import DATASET_FILE, DatasetInfo, Shard, shard_name
from tfface.progress import bar as progress_bar

BYTES_PER_SHARD = 100_000_000
MAX_SHARDS = 99_999  # of five digits


@dataclasses.dataclass(frozen=True, slots=True)
class SourceImage:
    """An image to be written, without its bytes.

    Args:
      key: name of the image, unique in its dataset; see `tfface.data.records`.
      identity: name of the person.
      size: (height, width) in pixels.
      num_bytes: length of the encoded image.
      landmarks: x1, y1, ..., x5, y5 in pixels, or None.
    """

    key: str
    identity: str
    size: tuple
    num_bytes: int
    landmarks: tuple | None = None


def write_dataset(output_dir, name, images, read_image, **options):
    """Writes a dataset; the same images give the same bytes, whatever their order and the number of workers.

    Args:
      output_dir: directory of the dataset; made if absent.
      name: first part of the shards' file names, of letters, digits, `_`, `-` and `.`.
      images: `SourceImage`s in any order.
      read_image: function from a `SourceImage` to its encoded bytes; called by the worker threads, once per image, so
        that only a few images are in memory at a time.
      **options: of `stage_dataset`.

    Returns:
      The `DatasetInfo`.

    Raises:
      ValueError: if a key occurs twice, there is no image, or the directory already holds such a dataset.
      OSError: if a file cannot be read or written; nothing is left behind then.
    """
    with stage_dataset(output_dir, name, images, read_image, **options) as publish:
        return publish()


@contextlib.contextmanager
def stage_dataset(
    output_dir, name, images, read_image, *, num_shards=None, workers=None, overwrite=False, progress=False
):
    """Writes a dataset under temporary names; several can so be published together, or none of them.

    Args:
      output_dir, name, images, read_image: as for `write_dataset`.
      num_shards: number of shards, reduced to the number of images; default: about 100 MB each.
      workers: number of threads, each at one shard at a time; default: the number of processors.
      overwrite: whether a dataset of that name in the directory is replaced; it stays until the new one is published.
      progress: whether a progress bar is shown on stderr.

    Returns:
      Context manager; its value is a function that puts the dataset in its place and returns the `DatasetInfo`. What
      was not published is removed on exit.

    Raises:
      ValueError, OSError: as for `write_dataset`.
    """
    if num_shards is not None and not 1 <= num_shards <= MAX_SHARDS:
        raise ValueError(f"`num_shards` must be in [1, {MAX_SHARDS}], got {num_shards}.")
    directory = pathlib.Path(output_dir)
    check_output(directory, name, overwrite)
    images = sorted(images, key=lambda image: (hashlib.sha256(image.key.encode()).digest(), image.key))
    if not images:
        raise ValueError(f"dataset {name!r} would hold no images.")
    for one, other in zip(images, images[1:], strict=False):
        if one.key == other.key:
            raise ValueError(f"key {one.key!r} occurs twice in dataset {name!r}.")
    label_map = sorted({image.identity for image in images})
    labels = {identity: label for label, identity in enumerate(label_map)}

    wanted = num_shards or math.ceil(sum(image.num_bytes for image in images) / BYTES_PER_SHARD)
    total = max(1, min(wanted, len(images), MAX_SHARDS))
    bounds = [len(images) * index // total for index in range(total + 1)]
    paths = [directory / shard_name(name, index, total) for index in range(total)]
    description = directory / DATASET_FILE
    directory.mkdir(parents=True, exist_ok=True)

    def publish():
        description.unlink(missing_ok=True)
        for old in _old_shards(directory, name):
            old.unlink()
        for path in paths:
            _temporary(path).replace(path)
        _temporary(description).replace(description)
        return info

    try:
        with progress_bar(total=len(images), desc=f"write {name}", unit=" images", disable=not progress) as bar:
            shards = [images[start:stop] for start, stop in zip(bounds, bounds[1:], strict=False)]
            digests = _write_shards(paths, shards, labels, read_image, workers or os.cpu_count(), bar)
        sizes = {tuple(image.size) for image in images}
        info = DatasetInfo(
            name=name,
            images=len(images),
            identities=len(label_map),
            image_size=sizes.pop() if len(sizes) == 1 else None,
            landmarks=sum(image.landmarks is not None for image in images),
            label_map=tuple(label_map),
            shards=tuple(
                Shard(path.name, len(shard), digest) for path, shard, digest in zip(paths, shards, digests, strict=True)
            ),
        )
        with open(_temporary(description), "w", encoding="utf-8") as file:
            file.write(info.to_json())
            file.flush()
            os.fsync(file.fileno())
        yield publish
    finally:
        for path in [*paths, description]:
            _temporary(path).unlink(missing_ok=True)


def check_output(directory, name, overwrite):
    """Raises ValueError unless a dataset `name` may be written into `directory`; touches nothing."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"`name` must be of letters, digits, '_', '-' and '.', got {name!r}.")
    directory = pathlib.Path(directory)
    for old in [directory / DATASET_FILE, *_old_shards(directory, name)]:
        if old.exists() and not overwrite:
            raise ValueError(f"{old} exists already: choose another output, or overwrite it.")


def _old_shards(directory, name):
    return sorted(directory.glob(f"{name}-{'[0-9]' * 5}-of-{'[0-9]' * 5}.tfrecord"))


def _temporary(path):
    return path.with_name(f"{path.name}.tmp")


def _write_shards(paths, shards, labels, read_image, workers, bar):
    stop, lock = threading.Event(), threading.Lock()

    def write(path, shard):
        with tf.io.TFRecordWriter(str(_temporary(path))) as writer:
            for image in shard:
                if stop.is_set():
                    return None
                writer.write(_serialize(image, labels[image.identity], read_image(image)))
                with lock:
                    bar.update()
        return _sync_and_hash(_temporary(path))

    def write_or_explain(path, shard):
        try:
            return write(path, shard)
        except tf.errors.ResourceExhaustedError as error:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        except tf.errors.OpError as error:
            raise OSError(f"{path}: {error.message.split(';')[-1].strip()}.") from error

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(write_or_explain, *work) for work in zip(paths, shards, strict=True)]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        finally:
            stop.set()
    return [future.result() for future in futures]


def _serialize(image, label, data):
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "identity": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.identity.encode()])),
        "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.key.encode()])),
    }
    if image.landmarks is not None:
        feature["landmarks"] = tf.train.Feature(float_list=tf.train.FloatList(value=image.landmarks))
    # The order of a protobuf map is arbitrary unless asked for.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _sync_and_hash(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
