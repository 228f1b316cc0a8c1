"""The class weights of a run, for statistics of its classes."""

import os
import pathlib
import re

import numpy as np

from tfface import data
from tfface.training.checkpoints.saving import checkpoint_files, latest_checkpoint
from tfface.training.checkpoints.variable_files import read_rows, read_shapes
from tfface.training.checkpoints.warm_start import read_identities


def read_class_weights(run_dir: str | os.PathLike) -> tuple[list[str], np.ndarray]:
    """Reads the class weights of the newest checkpoint of a run.

    Args:
      run_dir: folder of the run.

    Returns:
      (names, weights): list of the K identities in the order of their labels, float32 [K, D]; [K C, D] if the head has
      C sub-centers, those of a class one after another.

    Raises:
      ValueError: the folder is not a run, its files are damaged, or its head has no class weights.
    """
    folder = pathlib.Path(run_dir) / "checkpoints"
    checkpoint = latest_checkpoint(folder)
    if checkpoint is None:
        raise ValueError(f"{folder}: no checkpoint.")
    prefix = checkpoint_files(checkpoint)
    shapes = read_shapes(prefix)
    name = next((name for name in shapes if re.fullmatch(r"head/\d+/class_weights", name)), None)
    if name is None:
        raise ValueError(f"{checkpoint}: its head has no class weights.")
    return read_identities(run_dir), read_rows(prefix, name, shapes[name], 0, shapes[name][0]).numpy()


def class_weights_of(model: str | os.PathLike, images: str | os.PathLike) -> np.ndarray | None:
    """Returns float32 [K, D], row k for label k of the images; None unless these are records of a run's identities.

    Held-out identities have no class weights, though their labels are valid row numbers.
    """
    is_run = latest_checkpoint(pathlib.Path(model) / "checkpoints") is not None
    if not is_run or not os.path.isfile(os.path.join(images, data.records.DATASET_FILE)):
        return None
    names, weights = read_class_weights(model)
    one_each = len(weights) == len(names)
    return weights if one_each and names == list(data.DatasetInfo.load(images).label_map) else None
