"""Input pipelines: from TFRecord shards or a folder of images to batches."""

import os
import pathlib

import tensorflow as tf

from tfface.data.folders import find_images
from tfface.data.images import decode_image, size_pair
from tfface.data.records import check_labels_agree, count_images, parse_example, resolve_shards

# Part of the order of the stream, therefore fixed and not left to the number of processors.
_FILES_AT_ONCE = 16


def train_dataset(
    shards,
    batch_size,
    image_size=112,
    *,
    seed=0,
    mirror=True,
    shuffle_buffer=10_000,
    start_step=0,
    deterministic=True,
    num_workers=1,
    worker_index=0,
):
    """Builds the endless stream of training batches, a pure function of the seed and the step.

    Every epoch reads all images once in a new order and drops the remainder that fills no batch. With `start_step=k`
    the stream continues with batch k of the uninterrupted one, bit for bit, augmentation included; images of its epoch
    before it are read but not decoded.

    Args:
      shards: dataset directory, glob of TFRecord files, or a list of these.
      batch_size: images per batch B of this worker.
      image_size: side S or (height, width) in pixels; images of another size are resized.
      seed: int >= 0, of the order and the augmentation. `tf.random.set_seed` has no influence.
      mirror: whether every image is mirrored left to right with probability 1/2.
      shuffle_buffer: number of encoded images among which the next is drawn.
      start_step: the batch to begin with, counted from 0 over all epochs.
      deterministic: False lets parallel reads overtake each other, which gives up the promise above for some speed.
      num_workers: number of workers that share the data; each gets disjoint images, and the same number of batches.
      worker_index: which of them this is.

    Returns:
      `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "label": int64 [B]}`.

    Raises:
      ValueError: if the shards are incomplete or number identities differently, there are fewer images than a batch
        needs, or an argument is out of range.
    """
    for argument, value, lowest in (
        ("seed", seed, 0),
        ("shuffle_buffer", shuffle_buffer, 1),
        ("start_step", start_step, 0),
    ):
        if value < lowest:
            raise ValueError(f"`{argument}` must be at least {lowest}, got {value}.")
    if not 0 <= worker_index < num_workers:
        raise ValueError(f"`worker_index` must be in [0, num_workers = {num_workers}), got {worker_index}.")
    image_size = size_pair(image_size)
    paths = resolve_shards(shards)
    check_labels_agree(paths)
    counts = count_images(paths)
    steps = _steps_per_epoch(counts, batch_size, num_workers)
    # Whole files for each worker save reading, where the division is so even that no step is lost by it.
    by_file = min(sum(counts[worker::num_workers]) for worker in range(num_workers)) // batch_size == steps
    if by_file:
        paths = paths[worker_index::num_workers]
    first_epoch, first_step = divmod(start_step, steps)

    def epoch(number):
        tf.random.set_seed(seed + 1)  # Of this function's graph only; 0 would make TensorFlow compare symbolic seeds.
        order = tf.argsort(tf.random.stateless_uniform([len(paths)], seed=[seed, number]), stable=True)
        records = tf.data.Dataset.from_tensor_slices(tf.gather(paths, order)).interleave(
            tf.data.TFRecordDataset,
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=_FILES_AT_ONCE,
            deterministic=deterministic or not by_file,  # Workers that share files must agree on their order.
        )
        if not by_file:
            records = records.shard(num_workers, worker_index)
        records = records.shuffle(shuffle_buffer, seed=number).take(steps * batch_size)
        seen = tf.where(number == first_epoch, first_step * batch_size, 0)
        return records.enumerate(number * steps * batch_size).skip(tf.cast(seen, tf.int64))

    def example(position, serialized):
        record = parse_example(serialized)
        image = decode_image(record["image"], image_size)
        if mirror:
            # Keyed on the place in the stream, so that neither parallelism nor a resume changes it.
            chance = tf.random.stateless_uniform([], seed=[seed, position * num_workers + worker_index])
            image = tf.cond(chance < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
        return {"image": image, "label": record["label"]}

    # Decoding stays outside of the epochs: it runs on over their borders.
    return _batches(
        tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch),
        example,
        batch_size,
        deterministic=deterministic,
        drop_remainder=True,
    ).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def steps_per_epoch(shards, batch_size, num_workers=1):
    """Counts the batches that `train_dataset` gives every worker per epoch.

    Args:
      shards: as for `train_dataset`.
      batch_size: images per batch of one worker.
      num_workers: number of workers that share the data.

    Returns:
      int > 0.

    Raises:
      ValueError: if the shards are incomplete or hold fewer images than one batch per worker needs.
    """
    return _steps_per_epoch(count_images(resolve_shards(shards)), batch_size, num_workers)


def eval_dataset(shards, batch_size, image_size=112):
    """Builds one pass over a dataset in the order of its records, without augmentation.

    Args:
      shards: dataset directory, glob of TFRecord files, or a list of these.
      batch_size: images per batch B; the last batch may be shorter.
      image_size: side S or (height, width) in pixels; images of another size are resized.

    Returns:
      `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "label": int64 [B], "key": string [B],
      "identity": string [B]}`.

    Raises:
      ValueError: if the shards are incomplete.
    """
    image_size = size_pair(image_size)

    def example(serialized):
        record = parse_example(serialized)
        image = decode_image(record["image"], image_size)
        return {"image": image, "label": record["label"], "key": record["key"], "identity": record["identity"]}

    return _batches(tf.data.TFRecordDataset(resolve_shards(shards)), example, batch_size)


def folder_dataset(root, keys=None, batch_size=64, image_size=112):
    """Builds one pass over the images of a folder, with the preprocessing of `eval_dataset`.

    Args:
      root: the folder.
      keys: paths below the root, with `/`, in the order wanted; default: all images of the folder, sorted.
      batch_size: images per batch B; the last batch may be shorter.
      image_size: side S or (height, width) in pixels; images of another size are resized.

    Returns:
      `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "key": string [B]}`.

    Raises:
      ValueError: if there is no image, or a key names no file below the root.
      OSError: if the folder cannot be listed.
    """
    image_size = size_pair(image_size)
    root = pathlib.Path(root)
    keys = find_images(root).keys if keys is None else list(keys)
    if not keys:
        raise ValueError(f"{root} holds no images.")
    for key in keys:
        # Lists of keys come from elsewhere: none may lead out of the folder.
        if os.path.isabs(key) or ".." in key.split("/") or not (root / key).is_file():
            raise ValueError(f"{key!r} names no image in {root}.")

    def example(key):
        return {"image": decode_image(tf.io.read_file(tf.strings.join([str(root), "/", key])), image_size), "key": key}

    return _batches(tf.data.Dataset.from_tensor_slices(keys), example, batch_size)


def _steps_per_epoch(counts, batch_size, num_workers):
    if batch_size < 1 or num_workers < 1:
        raise ValueError(f"`batch_size` and `num_workers` must be positive, got {batch_size} and {num_workers}.")
    steps = sum(counts) // num_workers // batch_size
    if not steps:
        raise ValueError(
            f"{sum(counts)} images do not fill one batch of batch_size {batch_size} on each of {num_workers} workers."
        )
    return steps


def _batches(records, example, batch_size, *, deterministic=True, drop_remainder=False):
    options = tf.data.Options()
    options.deterministic = deterministic
    # tf.distribute must not divide what is divided already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    examples = records.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(batch_size, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE).with_options(options)
