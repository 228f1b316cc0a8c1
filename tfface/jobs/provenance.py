"""Hashes that identify the model and the images behind a number."""

import dataclasses
import hashlib
import os
import pathlib
import platform
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfface
from tfface import data, files
from tfface.config import train_config, train_flags
from tfface.data.dataset_content import content_sha256
from tfface.jobs.image_folders import is_image_folder
from tfface.training.checkpoints.saving import latest_checkpoint


def provenance(
    model: str | os.PathLike, images: str | os.PathLike | None, protocol: Iterable[str | os.PathLike]
) -> dict[str, Any]:
    """Identifies the inputs of an evaluation, as JSON values: version, model, images and pair lists, with hashes.

    Args:
      model: SavedModel folder, run folder or file.
      images: records or folder of images, or None.
      protocol: paths of official pair lists.
    """
    return {
        "tfface": tfface.__version__,
        "model": str(model),
        "model_sha256": model_sha256(model),
        "images": None if images is None else str(images),
        "images_sha256": None if images is None else images_sha256(images),
        "protocol": {str(path): sha256(path) for path in protocol},
    }


def training_facts(settings: train_config.TrainConfig) -> dict[str, Any]:
    """Describes a training, so that its workers can compare settings, data and versions; JSON values by name.

    Args:
      settings: `TrainConfig`.

    Raises:
      ValueError: the data cannot be found.
      OSError: a file cannot be read.
    """
    local = train_config.marked("local")
    names = [field.name for field in dataclasses.fields(settings) if field.name not in local]
    facts = {f"--{name}": getattr(settings, name) for name in names}
    synthetic = settings.train_data == "synthetic"
    facts["the content of --train_data"] = "synthetic" if synthetic else content_sha256(settings.train_data)
    facts["the content of --init_from"] = settings.init_from and model_sha256(settings.init_from)
    facts["the number of GPUs"] = len(tf.config.list_physical_devices("GPU"))
    facts["the version of Python"] = platform.python_version()
    for name, module in {"tfface": tfface, "TensorFlow": tf, "Keras": keras, "NumPy": np}.items():
        facts[f"the version of {name}"] = module.__version__
    return facts


def sha256(*paths: str | os.PathLike) -> str:
    """Hashes files, and all files of folders with their names, sorted by name.

    Args:
      *paths: of files or folders.

    Returns:
      str, SHA-256 in hexadecimal; for a single file, that of its content alone.

    Raises:
      OSError: a file cannot be read.
    """
    if len(paths) == 1 and not os.path.isdir(paths[0]):
        return files.sha256(paths[0])
    total = hashlib.sha256()
    for path in map(pathlib.Path, paths):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{files.sha256(file)}  {file.relative_to(path.parent).as_posix()}\n".encode())
    return total.hexdigest()


def model_sha256(model: str | os.PathLike) -> str:
    """Hashes a SavedModel folder, a file, or the settings and the newest checkpoint of a run folder."""
    model = pathlib.Path(model)
    checkpoint = latest_checkpoint(model / "checkpoints")
    return sha256(model) if checkpoint is None else sha256(model / train_flags.FLAGFILE, checkpoint)


def images_sha256(images: str | os.PathLike) -> str:
    """Hashes a folder of images, or records; for a dataset folder only its description, which holds their hashes."""
    if is_image_folder(images):
        return sha256(images)
    if os.path.isdir(images):
        return sha256(os.path.join(images, data.records.DATASET_FILE))
    return sha256(*data.resolve_shards(images))
