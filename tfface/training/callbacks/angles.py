"""Keras callback that follows the angles between images and class weights over a training: ArcFace's Figure 4a."""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from tfface import evaluation, files, npz_files
from tfface.training.callbacks.steps import StepCallback

FILE = "angles.npz"  # In the folder of a run.
BINS = 180  # Of one degree each.


class AngleCounts(NamedTuple):
    """Histograms of angles at T steps, in bins of one degree.

    Attributes:
      steps: int64 [T], rising.
      positive: int64 [T, 180], images by the angle to their own class.
      hardest_negative: int64 [T, 180], images by the angle to the nearest other class.
    """

    steps: np.ndarray
    positive: np.ndarray
    hardest_negative: np.ndarray


class AngleHistograms(StepCallback):
    """Counts the angles of some training images to their own class and to the nearest other one, in `angles.npz`.

    The file has the histograms at the start of the training, after every `every` steps and at the end. A resumed run
    first drops those after its checkpoint. Each time costs one pass over the images and their cosines to all classes.

    Args:
      folder: path of the run.
      images: float [N, height, width, C], images of the training classes.
      labels: int [N].
      every: int, of `StepCallback`.
      start_step: int, of `StepCallback`.
      total_steps: int, of `StepCallback`.

    Raises:
      ValueError: when the training begins: the head has no class weights, or the file holds anything else.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figure 4a.
    """

    def __init__(
        self, folder: str | os.PathLike, images, labels: np.ndarray, every: int, start_step: int, total_steps: int
    ):
        super().__init__(every, start_step, total_steps)
        self.path = pathlib.Path(folder) / FILE
        self.images, self.labels = images, np.asarray(labels)

    def on_train_begin(self, logs=None):
        if not hasattr(self.model.head, "get_class_weights"):
            raise ValueError(f"angles to class weights need a head with class weights, got {self.model.head!r}.")
        super().on_train_begin(logs)
        none = np.empty((0, BINS), np.int64)
        self.counts = AngleCounts(np.empty(0, np.int64), none, none)
        if self.step and self.path.exists():
            found = read_angles(self.path)
            self.counts = AngleCounts(*(column[found.steps <= self.step] for column in found))
        if self.step not in self.counts.steps:
            self.at_step(self.step, logs)

    def at_step(self, step: int, logs) -> None:
        head = self.model.head
        embeddings = np.asarray(self.model.encoder.predict(self.images, verbose=0), np.float32)
        angles = evaluation.angles_to_class_weights(embeddings, self.labels, head.get_class_weights(), head.sub_centers)
        rows = (np.array([step]), *(np.histogram(found, BINS, (0, BINS))[0][None] for found in angles))
        self.counts = AngleCounts(*map(np.concatenate, zip(self.counts, rows, strict=True)))
        with files.replacing(self.path) as unfinished, open(unfinished, "wb") as file:
            np.savez_compressed(file, **self.counts._asdict())


def read_angles(path: str | os.PathLike) -> AngleCounts:
    """Reads what `AngleHistograms` wrote.

    Raises:
      ValueError: the file holds anything else; the message names it.
      OSError: the file cannot be read.
    """
    arrays = npz_files.read_npz(path)
    if arrays.keys() != set(AngleCounts._fields):
        raise ValueError(f"{path}: expected the arrays {', '.join(AngleCounts._fields)}, got {sorted(arrays)}.")
    found = AngleCounts(**{name: arrays[name] for name in AngleCounts._fields})
    count = found.steps.size
    for name, shape in zip(AngleCounts._fields, ((count,), (count, BINS), (count, BINS)), strict=True):
        column = arrays[name]
        if column.shape != shape or column.dtype != np.int64 or not count or column.min() < 0:
            raise ValueError(
                f"{path}: {name} must be int64 {list(shape) if count else '[T > 0]'}, none negative; got "
                f"{column.dtype} {column.shape}."
            )
    if (np.diff(found.steps) <= 0).any():
        raise ValueError(f"{path}: its steps must rise.")
    return found
