"""Drift of embeddings while a network trains: BroadFace's Figure 5."""

import csv
import os
import pathlib
import re

import numpy as np
from matplotlib.figure import Figure

from tfface import files, npz_files
from tfface.evaluation.metrics.directions import unit_rows
from tfface.evaluation.reports.plots import COLOURS
from tfface.evaluation.reports.tsne import tsne
from tfface.figures.base import PaperFigure, panels

_MOST_BYTES = 1 << 24  # Of a table of errors.
_ENDS = ("past", "compensated", "current")
_MARKS = {"past": ("o", "#8C8C8C"), "compensated": ("^", COLOURS[1]), "current": ("x", COLOURS[0])}


class EmbeddingDrift(PaperFigure):
    """Mean cosine error of embeddings by their age, and past, compensated and current ones placed by t-SNE.

    Args:
      run: folder of a run where the callback `EmbeddingDrift` wrote `drift-STEP.csv` and `drift-STEP.npz`.
      step: int, the step; None: the last one.
      images: int, the most images in the scatter plot.
      perplexity: float, of t-SNE.
      seed: int, seed of the choice of images.

    Attributes:
      errors: dict from "without compensation" and "with compensation" to float64 [T], by the age in steps.
      places: dict from "past", "compensated" and "current" to float64 [n, 2].

    Raises:
      ValueError: the folder has no such files of this step, or they hold anything else.
      OSError: a file cannot be read.

    Reference:
      Kim et al., BroadFace, ECCV 2020, Figure 5; it has 64 images and a window of 64 steps.
    """

    def __init__(
        self,
        run: str | os.PathLike,
        step: int | None = None,
        images: int = 64,
        perplexity: float = 30.0,
        seed: int = 0,
    ):
        folder = pathlib.Path(run)
        steps = sorted(int(found[1]) for path in folder.glob("drift-*.npz")
                       if (found := re.fullmatch(r"drift-(\d+)\.npz", path.name)))  # fmt: skip
        if not steps or step not in (None, *steps):
            raise ValueError(f"{run}: no drift-{'STEP' if step is None else step}.npz; there are those of {steps}.")
        if images < 2:
            raise ValueError(f"`images` must be at least 2, got {images}.")
        self.step = steps[-1] if step is None else step
        self.errors = _read_errors(folder / f"drift-{self.step}.csv")
        ends = _read_ends(folder / f"drift-{self.step}.npz")
        drawn = np.sort(np.random.default_rng(seed).permutation(len(ends["current"]))[:images])
        units = [unit_rows(ends[name][drawn], name) for name in _ENDS]
        self.places = dict(zip(_ENDS, np.split(tsne(np.concatenate(units), perplexity), len(_ENDS)), strict=True))

    def figure(self) -> Figure:
        figure, (curves, scatter) = panels(2, 6, 4.5, columns=2)
        for (name, values), style in zip(self.errors.items(), ("-", "--"), strict=True):
            curves.plot(values, linestyle=style, linewidth=1.8, label=name)
        curves.set_xlabel("age of the embedding (steps)")
        curves.set_ylabel("mean cosine error, 1 − cos")
        curves.set_ylim(bottom=0)
        curves.legend(fontsize=9, loc="upper left")
        for name, (mark, colour) in _MARKS.items():
            scatter.plot(*self.places[name].T, mark, color=colour, markersize=5, fillstyle="none", label=name)
        scatter.set_xlabel("t-SNE, first coordinate")
        scatter.set_ylabel("t-SNE, second coordinate")
        scatter.legend(fontsize=9)
        for axes, title in ((curves, "(a) error by age"), (scatter, "(b) embeddings of the same images")):
            axes.set_title(f"{title}, step {self.step:,}", fontsize=10, loc="left")
        return figure


def _read_errors(path):
    rows = list(csv.reader(files.read_regular(path, _MOST_BYTES).decode("utf-8", "replace").splitlines()))
    try:
        header, *numbers = rows
        values = np.array(numbers, np.float64)
    except ValueError:
        header, values = rows[:1], np.empty(0)
    columns = ["steps_before", "without_compensation", "with_compensation"]
    if header != columns or values.ndim != 2 or values.shape[1] != 3 or not np.isfinite(values).all():
        raise ValueError(f"{path}: expected numbers in the columns {', '.join(columns)}.")
    return {name.replace("_", " "): values[:, number + 1] for number, name in enumerate(columns[1:])}


def _read_ends(path):
    arrays = npz_files.read_npz(path)
    shapes = {array.shape for array in arrays.values()}
    if arrays.keys() != set(_ENDS) or len(shapes) != 1 or any(array.dtype.kind != "f" for array in arrays.values()):
        raise ValueError(f"{path}: expected float arrays {', '.join(_ENDS)} of one shape, got {sorted(arrays)}.")
    return arrays
