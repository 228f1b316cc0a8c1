"""Pictures of embeddings in two or three dimensions, coloured by class, which show the effect of a loss."""

import io
import os

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tfface import files
from tfface.evaluation.metrics.directions import unit_rows


def plot_embeddings(
    embeddings: np.ndarray,
    labels: np.ndarray,
    path: str | os.PathLike | None = None,
    class_weights: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draws every embedding as a dot in the colour of its class, and every class weight as a line from the origin.

    Lengths are kept; pass unit embeddings for the arcs of ArcFace's figure.

    Args:
      embeddings: float [N, 2] or [N, 3].
      labels: int or str [N].
      path: PNG file to write, or None.
      class_weights: float [K, 2] or [K, 3], row k for integer label k, or None; drawn as long as the longest embedding.
      title: str above the picture.

    Returns:
      matplotlib Figure, which a notebook shows.

    Raises:
      ValueError: shapes do not fit, a label has no class weight, or a value is not finite.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figure 3; Wen et al., SphereFace2, ICLR 2022, Figures 7 and 8.
    """
    embeddings, labels = np.asarray(embeddings, np.float64), np.asarray(labels)
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if embeddings.ndim != 2 or embeddings.shape[1] not in (2, 3) or not len(embeddings):
        raise ValueError(f"`embeddings` must be [N, 2] or [N, 3], got {embeddings.shape}.")
    if labels.shape != embeddings.shape[:1] or labels.dtype.kind not in "iuU":
        raise ValueError(f"`labels` must be int or str [{len(embeddings)}], got {labels.dtype} {labels.shape}.")
    if class_weights is not None and labels.dtype.kind == "U":
        raise ValueError("`class_weights` have a row for each integer label, got labels of type str.")
    if not np.isfinite(embeddings).all():
        raise ValueError("`embeddings` must be finite.")
    figure = Figure(figsize=(7, 7), dpi=130, layout="constrained")
    axes = figure.add_subplot(projection="3d" if embeddings.shape[1] == 3 else None)
    classes = np.unique(labels)
    colours = matplotlib.colormaps["tab20"](np.arange(len(classes)) % 20)
    for label, colour in zip(classes, colours, strict=True):
        axes.scatter(*embeddings[labels == label].T, s=6, color=colour, alpha=0.6, linewidths=0)  # type: ignore[misc]
    if class_weights is not None:
        directions = _directions(class_weights, classes, embeddings)
        for direction, colour in zip(directions, colours, strict=True):
            axes.plot(*np.stack([np.zeros_like(direction), direction], axis=1), color=colour, linewidth=1.8)
    axes.set_aspect("equal")
    axes.set_title(title, parse_math=False)
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        files.write_atomically(path, picture.getvalue())
    return figure


def _directions(class_weights, classes, embeddings):
    weights = np.asarray(class_weights, np.float64)
    if (
        weights.ndim != 2
        or weights.shape[1] != embeddings.shape[1]
        or not 0 <= classes[0] <= classes[-1] < len(weights)
    ):
        raise ValueError(
            f"`class_weights` must be [more than {classes[-1]}, {embeddings.shape[1]}], got {weights.shape}."
        )
    return unit_rows(weights[classes], "class_weights", classes) * np.linalg.norm(embeddings, axis=1).max()
