"""Inputs of a plan beside the settings: the training data, the replicas, and the memory of a device."""

import os
import re
import typing

import tensorflow as tf

from tfface import data
from tfface.config.train_config import TrainConfig
from tfface.data.records import DatasetInfo
from tfface.distribute.cluster import read_cluster
from tfface.jobs.planning.machine import host_bytes

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(i?)B?", re.IGNORECASE)


class TrainingData(typing.NamedTuple):
    """Facts of training data, or what stands in for them."""

    classes: int
    images: int | None
    record_bytes: float | None


def training_data(settings: TrainConfig, location: str | None, classes: int | None, images: int | None) -> TrainingData:
    """Counts the training data; nothing is read but its description.

    Args:
      settings: `TrainConfig`.
      location: dataset folder or glob, "synthetic", or None.
      classes: in place of the identities of the data.
      images: in place of the images of the data.

    Raises:
      ValueError: the records are not a dataset, or there are neither records nor classes.
      OSError: they cannot be read.
    """
    if location is None:
        if classes is None:
            raise ValueError("a plan needs training data (--train_data) or a number of identities (--classes).")
        return TrainingData(classes, images, None)
    if location == "synthetic":
        identities = settings.synthetic_identities
        return TrainingData(classes or identities, images or identities * settings.synthetic_images, None)
    records = data.open_records(location, skip_bad=settings.skip_bad)
    count, record_bytes = counts(records)
    identities = len(DatasetInfo.load(location).label_map)
    return TrainingData(classes or identities, images or count, record_bytes)


def counts(records: data.Records) -> tuple[int, float]:
    """Returns the number of records and their mean size in bytes.

    Raises:
      OSError: a shard cannot be read.
    """
    count = sum(records.counts)
    return count, sum(os.path.getsize(shard) for shard in records.shards) / max(1, count)


def local_replicas(settings: TrainConfig) -> int:
    """Returns how many replicas of a training share the memory that `peak_bytes` measures."""
    if tf.config.list_logical_devices("GPU") or settings.strategy != "mirrored":
        return 1
    return max(1, settings.replicas)


def replicas(settings: TrainConfig) -> int:
    """Returns the number of replicas of the settings, which may be more than this machine has devices for."""
    if settings.replicas:
        return settings.replicas
    gpus = max(1, len(tf.config.list_physical_devices("GPU")))
    if settings.strategy == "multiworker":
        return len(read_cluster().addresses) * gpus
    return gpus if settings.strategy == "mirrored" else 1


def device_bytes(replicas: int) -> int | None:
    """Returns the memory of this machine for one replica; None if it has GPUs, which do not tell theirs."""
    if tf.config.list_physical_devices("GPU"):
        return None
    return host_bytes() // replicas


def parse_bytes(text: str) -> float:
    """Returns the bytes that a text such as "80G" (10^9) or "80GiB" (2^30) states.

    Raises:
      ValueError: it states none.
    """
    match = _BYTES.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise ValueError(f"memory must be a size such as 80G or 512MiB, got {text!r}.")
    number, unit, binary = match.groups()
    factor = _UNITS[unit.upper()]
    if binary:
        factor = 1024 ** list(_UNITS).index(unit.upper())
    return float(number) * factor
