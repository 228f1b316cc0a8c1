"""Files of embeddings: NumPy's .npz, or TFRecord."""

import itertools
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfface import files, npz_files
from tfface.data.formats.tfrecord_files import scan_records
from tfface.export.embedding.embedder import Embeddings, concatenate

_RECORDS = ".tfrecord"
_RECORDS_AT_ONCE = 4096


def save_embeddings(path: str | os.PathLike, embeddings: Embeddings) -> None:
    """Writes embeddings into one file, as TFRecord if its name ends in `.tfrecord`, else as .npz.

    .npz holds `vectors` float32, `keys` unicode and, if known, `labels` int64. A record is a `tf.train.Example` of
    `embedding` (D floats), `key` (bytes, UTF-8) and, if known, `label` (int64). Equal embeddings give equal bytes. The
    file appears, or replaces an older one, only when it is complete.

    Args:
      path: file to write; nothing is appended to its name.
      embeddings: `Embeddings`.
    """
    with files.replacing(path) as unfinished:
        if pathlib.Path(path).suffix == _RECORDS:
            _write_records(unfinished, embeddings)
        else:
            arrays: dict[str, Any] = {"vectors": embeddings.vectors, "keys": np.array(embeddings.keys, dtype=np.str_)}
            if embeddings.labels is not None:
                arrays["labels"] = embeddings.labels
            # Opened here, because np.savez appends .npz to a name that lacks it.
            with open(unfinished, "wb") as file:
                np.savez(file, **arrays)


def load_embeddings(path: str | os.PathLike) -> Embeddings:
    """Reads what `save_embeddings` wrote; never unpickles.

    Args:
      path: .tfrecord or .npz file.

    Returns:
      The `Embeddings`.

    Raises:
      ValueError: the file holds anything else; the message names the file.
      OSError: the file cannot be read.
    """
    try:
        if pathlib.Path(path).suffix == _RECORDS:
            return _read_records(path)
        arrays = npz_files.read_npz(path)
        missing = {"vectors", "keys"} - set(arrays)
        if missing:
            raise ValueError(f"no array {sorted(missing)}, only {sorted(arrays)}.")
        keys = arrays["keys"]
        if keys.ndim != 1 or keys.dtype.kind != "U":
            raise ValueError(f"keys must be [N] unicode, got {keys.shape} {keys.dtype}.")
        return Embeddings(arrays["vectors"], keys.tolist(), arrays.get("labels"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a file of embeddings: {error}") from error


def _write_records(path, embeddings):
    labels = [None] * len(embeddings.keys) if embeddings.labels is None else embeddings.labels.tolist()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for vector, key, label in zip(embeddings.vectors, embeddings.keys, labels, strict=True):
            feature = {
                "embedding": tf.train.Feature(float_list=tf.train.FloatList(value=vector)),
                "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[key.encode()])),
            }
            if label is not None:
                feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
            # The order of a protobuf map is arbitrary unless asked for.
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString(deterministic=True))


def _read_records(path):
    records = enumerate(scan_records(path))
    parts = []
    while batch := list(itertools.islice(records, _RECORDS_AT_ONCE)):
        for number, (offset, data) in batch:
            if isinstance(data, ValueError):
                raise ValueError(f"record {number} at byte {offset}: {data}.")
        if not parts:
            schema = _schema(batch[0][1][1])
        parts.append(_parse(batch, schema))
    if not parts:
        raise ValueError("the file is empty.")
    return concatenate(parts, parts[0].vectors.shape[1], "label" in schema)


def _schema(record):
    """Returns the features of a file, judged by its first record."""
    try:
        example = dict(tf.train.Example.FromString(record).features.feature)
    except DecodeError:
        raise ValueError("record 0 at byte 0: not a tf.train.Example.") from None
    if "embedding" not in example:
        raise ValueError(f"no feature 'embedding', only {sorted(example)}.")
    dim = len(example["embedding"].float_list.value)
    schema = {"embedding": tf.io.FixedLenFeature([dim], tf.float32), "key": tf.io.FixedLenFeature([], tf.string)}
    return {**schema, "label": tf.io.FixedLenFeature([], tf.int64)} if "label" in example else schema


def _parse(batch, schema):
    """Parses records, (number, (offset, data)) each, into `Embeddings`."""
    try:
        parsed = tf.io.parse_example([data for _, (_, data) in batch], schema)
        keys = [key.decode() for key in parsed["key"].numpy().tolist()]
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        if len(batch) > 1:
            # Halved until one record is left, which the error names.
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                _parse(half, schema)
        number, (offset, _) = batch[0]
        reason = error.message.strip().splitlines()[0] if isinstance(error, tf.errors.OpError) else error
        raise ValueError(f"record {number} at byte {offset}: {reason}") from None
    return Embeddings(parsed["embedding"].numpy(), keys, parsed["label"].numpy() if "label" in schema else None)
