"""Embeddings of two or three dimensions with decision boundaries: ArcFace's Figure 3, SphereFace2's Figures 7 and 8."""

import os
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfface import export
from tfface.config.build import load_head
from tfface.evaluation.metrics.directions import unit_rows
from tfface.evaluation.reports.toy_plot import plot_embeddings
from tfface.figures.base import PaperFigure, name_of
from tfface.training.checkpoints.class_weights import read_class_weights

_MOST_CLASSES = 100  # Boundaries compare every class with all others.
_COORDINATES = ("x", "y", "z")
_LINES: dict[str, tuple[Any, str]] = {
    "own": ("--", "boundary of the own class, with its margin"),
    "plain": (":", "boundary without a margin"),
    "other": ("-.", "boundary of the other classes, with their margin"),
}


class Boundary(NamedTuple):
    """Decision boundary of a class around its class weight.

    Attributes:
      label: int, the class.
      kind: "own": where an example of the class begins to be taken for another one, with the margin of its training;
        "plain": the same without a margin; "other": where the examples of other classes begin to be taken for this one,
        which only a binary head knows.
      directions: float64 [2, 2], unit vectors to both sides in the plane; [A, 3], around the class weight.
    """

    label: int
    kind: str
    directions: np.ndarray


class ToyEmbeddings(PaperFigure):
    """Embeddings of a run with two or three dimensions, its class weights, and the decision boundaries of its head.

    The boundary of a class is where its logit, with the margin, falls to the largest other one; for SphereFace2, to
    zero. Embeddings have unit length.

    Args:
      run: folder of a run with `--embedding_dim` 2 or 3.
      embeddings: file that `tfface embed` wrote from the training records of the run.
      boundaries: bool, whether to draw the boundaries; of 100 classes at most.

    Attributes:
      boundaries: list of `Boundary`; a class that has no examples, or whose margin leaves it no room, has none.

    Raises:
      ValueError: the folder is not such a run, the file does not fit it, or the head has no logits, sub-centers, or too
        many classes.
      OSError: a file cannot be read.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figure 3; Wen et al., SphereFace2, ICLR 2022, Figures 7 and 8.
    """

    def __init__(self, run: str | os.PathLike, embeddings: str | os.PathLike, boundaries: bool = True):
        self.run = run
        names, self.class_weights = read_class_weights(run)
        self.embeddings = export.load_embeddings(embeddings)
        dim, labels = self.class_weights.shape[1], self.embeddings.labels
        if dim not in (2, 3) or len(names) != len(self.class_weights):
            raise ValueError(
                f"{run}: expected one class weight of 2 or 3 dimensions per class, got {self.class_weights.shape} for "
                f"{len(names)} classes."
            )
        if labels is None or self.embeddings.vectors.shape[1] != dim or labels.max() >= len(names):
            raise ValueError(f"{embeddings}: expected the labelled images that {run} was trained on.")
        self._labels: np.ndarray = labels
        self.boundaries: list[Boundary] = []
        if boundaries:
            if len(names) > _MOST_CLASSES:
                raise ValueError(
                    f"boundaries are drawn for {_MOST_CLASSES} classes at most, got {len(names)}: boundaries=False "
                    "leaves them out."
                )
            self.boundaries = decision_boundaries(load_head(run), self.class_weights, np.unique(labels))

    def figure(self) -> Figure:
        vectors, labels = self.embeddings.vectors, self._labels
        figure = plot_embeddings(vectors, labels, class_weights=self.class_weights, title=name_of(self.run))
        axes = figure.axes[0]
        classes = np.unique(labels).tolist()
        for label, kind, directions in self.boundaries:
            colour = matplotlib.colormaps["tab20"](classes.index(label) % 20)
            lines = [np.stack([np.zeros(2), end]) for end in directions] if len(directions[0]) == 2 else [directions]
            for line in lines:
                axes.plot(*line.T, color=colour, linestyle=_LINES[kind][0], linewidth=1.2)
        for name in _COORDINATES[: vectors.shape[1]]:
            getattr(axes, f"set_{name}label")(f"{name} of the unit embedding")
        if drawn := [kind for kind in _LINES if any(kind == one.kind for one in self.boundaries)]:
            handles = [
                Line2D([], [], color="black", linestyle=_LINES[kind][0], label=_LINES[kind][1]) for kind in drawn
            ]
            figure.legend(handles=handles, fontsize=9, loc="outside lower center")
        return figure


def decision_boundaries(head, class_weights: np.ndarray, labels: np.ndarray, around: int = 72) -> list[Boundary]:
    """Finds the decision boundaries of classes by walking away from their class weights on the circle or sphere.

    Args:
      head: `ClassificationHead`, or a wrapper of one.
      class_weights: float [K, D], D being 2 or 3.
      labels: int [n], the classes.
      around: int, directions to walk in, on the sphere.

    Returns:
      list of `Boundary`.

    Raises:
      ValueError: the head has no logits.
    """
    if not hasattr(head, "logits"):
        raise ValueError(f"decision boundaries need a head with logits, got {head!r}.")
    inner = head
    while hasattr(inner, "head"):
        inner = inner.head
    binary = inner.reduction == "sum"
    found = []
    for label in np.asarray(labels).tolist():
        centre = unit_rows(class_weights[label : label + 1], "class_weights")[0]
        for kind in ("own", "plain", *(["other"] if binary else [])):

            def surplus(points, kind=kind, label=label):
                return _surplus(head, kind, label, points, binary)

            directions = _walk(centre, surplus, around)
            if directions is not None:
                found.append(Boundary(label, kind, directions))
    return found


def _surplus(head, kind, label, points, binary):
    """By how much the logit of a class exceeds what it is compared with, float [N] at points [N, D]."""
    given = {"own": label, "other": (label + 1) % head.num_classes}.get(kind)
    labels = None if given is None else np.full(len(points), given)
    logits = head.logits(points.astype(np.float32), labels).numpy()
    own = logits[:, label].copy()
    if binary:
        return own
    logits[:, label] = -np.inf
    return own - logits.max(axis=1)


def _walk(centre, surplus, around):
    """Returns the unit vectors where the surplus first falls to zero, or None if it is not positive at the start."""
    across = np.linalg.svd(centre[None])[2][1:]  # An orthonormal basis of the directions away from the class weight.
    if len(across) == 1:
        tangents = np.concatenate([across, -across])
    else:
        turns = np.linspace(0, 2 * np.pi, around + 1)[:, None]
        tangents = np.cos(turns) * across[0] + np.sin(turns) * across[1]
    angles = np.linspace(0, np.pi, 361)

    def at(angle):
        """Points [A, ..., D] at angles from the class weight, [...] in all directions or [A, 1] in each."""
        return np.cos(angle)[..., None] * centre + np.sin(angle)[..., None] * tangents[:, None]

    values = surplus(at(angles[None]).reshape(-1, len(centre))).reshape(len(tangents), -1)
    outside = values <= 0
    if outside[:, 0].any() or not outside.any(axis=1).all():
        return None
    first, row = outside.argmax(axis=1), np.arange(len(tangents))
    before, after = values[row, first - 1], values[row, first]
    crossing = angles[first - 1] + before / (before - after) * (angles[1] - angles[0])
    return at(crossing[:, None])[:, 0]
