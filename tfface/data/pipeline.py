"""Input pipelines: batches from TFRecord shards or from a folder of images."""

import math
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfface.data.checked_folders import ImageFolder
from tfface.data.checked_records import Records, Shards, open_records
from tfface.data.dataset_content import difference_of_identities
from tfface.data.images.augment.base import Augmentation, augment
from tfface.data.images.augment.geometry import mirror as mirrored
from tfface.data.images.augment.shortcuts import as_augmentations
from tfface.data.images.decoding import ImageSize, decode_image, decode_pixels, ensure_image, normalize, size_pair
from tfface.data.order.batches import PK, global_batch_size
from tfface.data.order.shuffles import Blocks, Buffer
from tfface.data.origins import LabelMap, Origin, note_origin
from tfface.data.records import common_labels, common_size, parse_example, resolve_shards
from tfface.data.sources.folders import find_images
from tfface.data.streams import Share, block_shuffled_records, records_by_identity, shuffled_records


def train_dataset(
    shards: Shards,
    batch_size: int | None = None,
    image_size: ImageSize = 112,
    *,
    batches: PK | None = None,
    epochs: int | None = None,
    seed: int = 0,
    mirror: bool = True,
    augmentations: Sequence[Augmentation | str] = (),
    shuffle: Blocks | Buffer = Blocks(),  # noqa: B008
    start_step: int = 0,
    deterministic: bool = True,
    num_workers: int = 1,
    worker_index: int = 0,
    parts: int = 1,
    skip_bad: bool = False,
    as_pixels: bool = False,
) -> tf.data.Dataset:
    """Builds the infinite stream of training batches, a pure function of the seed and the step.

    Every epoch reads all images once in a new order and drops the last incomplete batch. With `start_step=k` the stream
    continues with batch k of the uninterrupted stream, bit for bit, augmentation included. With `shuffle=Buffer()`,
    earlier images of the same epoch are read but not decoded.

    With `batches=PK(...)`, an epoch is still the number of images // the batch size, but identities come equally often
    instead of images. Records are read one by one; their labels are read first, unless the dataset has an index.

    Args:
      shards: dataset directory, glob of TFRecord files, or a list of these; or the result of `open_records`.
      batch_size: global batch size, over all workers; may be left out with `batches`.
      image_size: side S or (height, width) in pixels; images of another size are resized.
      batches: `PK` for batches of P identities with K images each; None: images in random order.
      epochs: number of epochs after which the dataset ends; None: it is infinite. Each iteration over the dataset takes
        the epochs after those of the iteration before, so `fit(train_dataset(..., epochs=1), epochs=20)` trains for 20
        different epochs.
      seed: int >= 0, for the order and the augmentation. `tf.random.set_seed` has no influence.
      mirror: whether every image is flipped left to right with probability 1/2.
      augmentations: further augmentations of `tfface.data.images.augment`, applied in this order, such as
        `[Crop(), Color(probability=0.3, strength=0.4)]`; also strings `NAME` or `NAME:PROBABILITY`, such as
        `["crop", "color:0.3"]`.
      shuffle: how the order of an epoch is drawn, `Blocks` or `Buffer`; not used with `batches`.
      start_step: index of the first batch, counted from 0 over all epochs; with `epochs`, the start of an epoch.
      deterministic: False allows parallel reads to overtake each other. This is faster but not reproducible.
      num_workers: number of workers that share every batch equally. Together they see the same images as a single
        worker. Each decodes only its own images; with `shuffle=Buffer()` it reads all records.
      worker_index: index of this worker.
      parts: number of equal batches into which this worker's share is split, one for each of its devices.
      skip_bad: whether to leave bad records out, as `open_records` does; the stream then consists of the good ones.
      as_pixels: whether `FaceModel` normalises the images on its device, which gives the same numbers for less work
        here and a quarter of the bytes. Where images are resized or augmented, this has no effect.

    Returns:
      `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "label": int64 [B]}`, with B = batch_size /
      (num_workers * parts); with `as_pixels`, "pixels" of type uint8 in place of "image".

    Raises:
      ValueError: as for `open_records`; if the shards number identities differently, there are fewer images than a
        batch needs, or an argument is out of range.
    """
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0, got {seed}.")
    if not isinstance(shuffle, Blocks | Buffer):
        raise ValueError(f"`shuffle` must be Blocks or Buffer, such as Blocks(size=64); got {shuffle!r}.")
    image_size = size_pair(image_size)
    augmentations = as_augmentations(augmentations)
    batch_size = global_batch_size(batch_size, batches)
    opened = open_records(shards, skip_bad=skip_bad)
    labels = common_labels(opened.shards)
    steps = _steps_per_epoch(opened.counts, batch_size)
    share = Share(batch_size, steps, start_step, epochs, num_workers, worker_index, parts)
    if batches is not None:
        stream = records_by_identity(opened, share, seed, batches)
    elif isinstance(shuffle, Blocks):
        stream = block_shuffled_records(opened, share, seed, shuffle)
    else:
        stream = shuffled_records(opened, share, seed, shuffle.size, deterministic)

    stored = _stored_in_size(opened, image_size)
    as_pixels = as_pixels and stored and not augmentations

    def batch(positions, serialized):
        record = parse_example(serialized)
        # Random numbers are keyed on the position in the stream, so neither parallelism nor a resume changes them.
        step, places = positions[0] // batch_size, positions % batch_size
        chances = tf.gather(tf.random.stateless_uniform([batch_size], seed=[seed, step]), places)
        flips = chances < 0.5 if mirror else None
        if as_pixels:
            return {"pixels": _pixels(record["image"], image_size, flips), "label": record["label"]}
        keys = tf.stack([tf.fill(tf.shape(positions), tf.constant(seed, tf.int64)), positions], axis=1)
        images = _images(record["image"], image_size, stored, flips, keys, augmentations)
        return {"image": images, "label": record["label"]}

    # Decoding stays outside the epochs, so that it does not pause between them.
    decoded = _decoded(stream, batch, deterministic=deterministic)
    dataset = decoded.apply(tf.data.experimental.assert_cardinality(share.cardinality))
    return note_origin(dataset, Origin(opened, labels and LabelMap.of(*labels)))


def steps_per_epoch(shards: Shards, batch_size: int | None = None, *, batches: PK | None = None) -> int:
    """Counts the batches of an epoch of `train_dataset`.

    Args:
      shards: as for `train_dataset`.
      batch_size: as for `train_dataset`.
      batches: as for `train_dataset`.

    Returns:
      int > 0.

    Raises:
      ValueError: as for `open_records`, or if the shards hold fewer images than one batch needs.
    """
    return _steps_per_epoch(open_records(shards).counts, global_batch_size(batch_size, batches))


def eval_dataset(
    shards: Shards,
    batch_size: int,
    image_size: ImageSize = 112,
    *,
    labels_of: Shards | None = None,
    start: int = 0,
    stop: int | None = None,
) -> tf.data.Dataset:
    """Builds one pass over a dataset, or a range of it, in record order, without augmentation.

    Args:
      shards: as for `train_dataset`.
      batch_size: images per batch B; the last batch may be shorter.
      image_size: side S or (height, width) in pixels; images of another size are resized.
      labels_of: dataset whose labels the identities get, by their names, such as the training data of a model whose
        loss is measured; None: their own labels.
      start: number of records before the first one that is read.
      stop: number of records before the end of the range; None: all of them.

    Returns:
      `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "label": int64 [B], "key": string [B],
      "identity": string [B]}`.

    Raises:
      ValueError: as for `open_records`, or if the shards number identities differently, or if some of the identities
        are not in `labels_of`, or if there are no such records.
    """
    image_size = size_pair(image_size)
    opened = open_records(shards)
    count, whole = sum(opened.counts), (start, stop) == (0, None)
    stop = count if stop is None else stop
    if not whole and not 0 <= start < stop <= count:
        raise ValueError(f"records {start} to {stop} were asked for, there are {count}.")
    labels = common_labels(opened.shards)
    labels, numbers = (labels, None) if labels_of is None else _renumbered(labels, labels_of)
    stored = _stored_in_size(opened, image_size)

    def batch(serialized):
        record = parse_example(serialized)
        images = _images(record["image"], image_size, stored)
        label = record["label"] if numbers is None else tf.gather(numbers, record["label"])
        return {"image": images, "label": label, "key": record["key"], "identity": record["identity"]}

    records = opened.read_all() if whole else opened.read_range(start, stop)
    dataset = _decoded(records.batch(batch_size), batch)
    # Keras would warn of the end of a dataset that does not tell its number of batches.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(math.ceil((stop - start) / batch_size)))
    return note_origin(dataset, Origin(opened, labels and LabelMap.of(*labels)))


def folder_dataset(
    root: str | os.PathLike, keys: Iterable[str] | None = None, batch_size: int = 64, image_size: ImageSize = 112
) -> tf.data.Dataset:
    """Builds one pass over the images of a folder, with the preprocessing of `eval_dataset`.

    Args:
      root: the folder.
      keys: paths relative to the root, with `/`, in the desired order; default: all images of the folder, sorted.
      batch_size: images per batch B; the last batch may be shorter.
      image_size: side S or (height, width) in pixels; images of another size are resized.

    Returns:
      `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "key": string [B]}`.

    Raises:
      ValueError: if there is no image, or a key does not name a file below the root.
      OSError: if the folder cannot be listed.
    """
    image_size = size_pair(image_size)
    root = pathlib.Path(root)
    keys = find_images(root).keys if keys is None else list(keys)
    if not keys:
        raise ValueError(f"{root} holds no images.")
    for key in keys:
        # Lists of keys are untrusted: no key may lead out of the folder.
        if os.path.isabs(key) or ".." in key.split("/") or not (root / key).is_file():
            raise ValueError(f"{key!r} does not name an image in {root}.")

    def image(key):
        # The decoder would also take GIF and WebP.
        encoded = ensure_image(tf.io.read_file(tf.strings.join([str(root), "/", key])))
        return decode_image(encoded, image_size, upright=True)

    def batch(keys):
        return {"image": _each(image, image_size, key=keys), "key": keys}

    dataset = _decoded(tf.data.Dataset.from_tensor_slices(keys).batch(batch_size), batch)
    return note_origin(dataset, Origin(ImageFolder(root, tuple(keys))))


def _steps_per_epoch(counts, batch_size):
    steps = sum(counts) // batch_size
    if not steps:
        raise ValueError(f"{sum(counts)} images do not fill one batch of batch_size {batch_size}.")
    return steps


def _renumbered(labels, other):
    """Returns the labels of another dataset, as `common_labels`, and the number of each own label among them."""
    others = common_labels(other.shards if isinstance(other, Records) else resolve_shards(other))
    if labels is None or others is None:
        raise ValueError(
            f"labels_of={other!r} goes by names of identities: both datasets need the dataset.json that states them."
        )
    (source, own), (other_source, names) = labels, others
    number_of = {name: number for number, name in enumerate(names)}
    if not number_of.keys() >= set(own):
        raise ValueError(
            f"{source} cannot get the labels of {other_source}: {difference_of_identities(names, own)}. Convert its "
            f"images with --labels_from={other_source} --skip_bad, which leaves other people out."
        )
    return others, np.array([number_of[name] for name in own], np.int64)


def _stored_in_size(records, image_size):
    """Whether all images are known to be stored in the size that is asked for."""
    return common_size(records.shards) == image_size


def _images(encoded, image_size, stored, flips=None, keys=None, augmentations=()):
    """Decodes a batch to float32 [B, height, width, 3] in [-1, 1], and flips and augments its images.

    Args:
      encoded: string [B].
      image_size: (height, width) in pixels.
      stored: whether all images have this size.
      flips: bool [B], which are flipped; None: none.
      keys: int64 [B, 2], for the augmentations.
      augmentations: list of `Augmentation`.
    """
    if stored and not augmentations:
        # A batch is normalised as a whole, which takes a third of the time.
        return normalize(_pixels(encoded, image_size, flips))

    def image(data, flip=None, key=None):
        # Where the size is known, no image is asked for it.
        made = normalize(_pixels_of(data, image_size)) if stored else decode_image(data, image_size)
        return augment(_flipped(made, flip), key, augmentations)

    return _each(image, image_size, data=encoded, flip=flips, key=keys if augmentations else None)


def _pixels(encoded, image_size, flips=None):
    """Decodes a batch of images of this size to uint8 [B, height, width, 3], and flips them as `_images` does."""

    def pixels(data, flip=None):
        return _flipped(_pixels_of(data, image_size), flip)

    return _each(pixels, image_size, tf.uint8, data=encoded, flip=flips)


def _pixels_of(data, image_size):
    return tf.ensure_shape(decode_pixels(data), [*image_size, 3])


def _flipped(image, flip):
    return image if flip is None else tf.cond(flip, lambda: mirrored(image), lambda: image)


def _each(function, image_size, dtype=tf.float32, **columns):
    """Makes the images of a batch, [B, height, width, 3], one after the other, from columns [B, ...] or None."""
    # `Dataset.map` over single images would have an overhead per image that is a good part of the time of decoding.
    output = tf.TensorSpec([*image_size, 3], dtype)
    given = {name: column for name, column in columns.items() if column is not None}
    return tf.map_fn(lambda one: function(**one), given, fn_output_signature=output, parallel_iterations=1)


def _decoded(batches, decode, *, deterministic=True):
    options = tf.data.Options()
    options.deterministic = deterministic
    # tf.distribute must not split the workers' batches again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).with_options(options)
