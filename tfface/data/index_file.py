"""The file `index.npz` beside the shards of a dataset: the length and the label of every record.

It spares every training the reading of all records. It holds three arrays, in the order of the records: `lengths`,
uint32 [images], bytes in the data of a record; `labels`, uint32 [images]; and `sha256`, the checksums of the shards as
`dataset.json` states them. It belongs to shards of these checksums and sizes only. A dataset is complete without it.
"""

import os
import pathlib

import numpy as np
import tensorflow as tf

from tfface import files, npz_files
from tfface.data.record_index import sum_of_bytes
from tfface.data.records import DATASET_FILE, DatasetInfo

INDEX_FILE = "index.npz"
_ARRAYS = {"lengths": np.dtype("<u4"), "labels": np.dtype("<u4"), "sha256": np.dtype("<U64")}
_OVERHEAD = 1 << 16  # Bytes of the archive and the headers of its arrays, at most.


def write_index(directory: str | os.PathLike, lengths: np.ndarray, labels: np.ndarray) -> None:
    """Writes the index of a dataset.

    Args:
      directory: of the dataset, on a local disk.
      lengths: int [images], bytes in the data of every record.
      labels: int [images].

    Raises:
      ValueError: a label is not that of an identity.
      OSError: the file cannot be written.
    """
    info = DatasetInfo.load(directory)
    if not 0 <= labels.min() <= labels.max() < info.identities:
        raise ValueError(f"{directory}: labels {labels.min()} to {labels.max()} of {info.identities} identities.")
    checksums = [shard.sha256 for shard in info.shards]
    with files.replacing(pathlib.Path(directory) / INDEX_FILE) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            lengths=np.asarray(lengths, _ARRAYS["lengths"]),
            labels=np.asarray(labels, _ARRAYS["labels"]),
            sha256=np.array(checksums, _ARRAYS["sha256"]),
        )


def read_index(directory: str) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
    """Reads the index of a dataset.

    Args:
      directory: of the dataset, local or on another file system of `tf.io.gfile`.

    Returns:
      Dict from the path of each shard to the lengths and the labels of its records, uint32; None without an index.

    Raises:
      ValueError: the index is damaged or belongs to other shards; the message names it.
    """
    path = os.path.join(directory, INDEX_FILE)
    if not tf.io.gfile.exists(path):
        return None
    info = DatasetInfo.load(directory or ".")
    if (size := tf.io.gfile.stat(path).length) > info.images * 8 + len(info.shards) * 256 + _OVERHEAD:
        raise files.Unreadable(path, f"{size} bytes are more than an index of {info.images} records has")
    arrays = _read_arrays(path)
    shapes = {"lengths": (info.images,), "labels": (info.images,), "sha256": (len(info.shards),)}
    for name, dtype in _ARRAYS.items():
        found = arrays.get(name)
        if found is None or found.dtype != dtype or found.shape != shapes[name]:
            what = "is absent" if found is None else f"is {found.dtype} {list(found.shape)}"
            raise files.Unreadable(path, f"array {name} {what}, expected {dtype} {list(shapes[name])}")
    if info.images and (highest := int(arrays["labels"].max())) >= info.identities:
        raise files.Unreadable(path, f"label {highest} of {info.identities} identities")
    starts = np.cumsum([shard.images for shard in info.shards])[:-1]
    of_shards = zip(*(np.split(arrays[name], starts) for name in ("lengths", "labels")), strict=True)
    return {
        _check_shard(path, os.path.join(directory, shard.file), shard, checksum, lengths): (lengths, labels)
        for shard, checksum, (lengths, labels) in zip(info.shards, arrays["sha256"], of_shards, strict=True)
    }


def _read_arrays(path):
    if "://" not in path:
        return npz_files.read_npz(path)
    with files.temporary_folder() as folder:
        copy = folder / INDEX_FILE
        tf.io.gfile.copy(path, str(copy))
        try:
            return npz_files.read_npz(copy)
        except files.Unreadable as error:
            raise files.Unreadable(path, error.reason) from error


def _check_shard(path, shard_path, shard, checksum, lengths):
    """Returns `shard_path` if the index belongs to this shard."""
    if checksum != shard.sha256:
        raise files.Unreadable(
            path, f"it belongs to other records: the checksum of {shard.file} is not that in {DATASET_FILE}"
        )
    stated, size = sum_of_bytes(lengths), tf.io.gfile.stat(shard_path).length
    if stated != size:
        raise files.Unreadable(
            path, f"it belongs to other records: {shard.file} has {size} bytes, but these would have {stated}"
        )
    return shard_path
