"""Angles between images and class weights over a training: ArcFace's Figure 4a."""

import os
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tfface.figures.base import PaperFigure, panels
from tfface.training.callbacks.angles import BINS, FILE, AngleCounts, read_angles

_MOST_STEPS = 6


class AngleDistributions(PaperFigure):
    """Angles of training images to their own class and to the nearest other one, from the start of a run to its end.

    Args:
      run: folder of a run with `angles.npz`, which the callback `AngleHistograms` writes, or the path of such a file.
      steps: the steps to draw, of those in the file; None: six at most, from the first to the last.

    Attributes:
      counts: `AngleCounts` of these steps.

    Raises:
      ValueError: the file holds anything else, or lacks a step.
      OSError: it cannot be read.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figure 4a.
    """

    def __init__(self, run: str | os.PathLike, steps: Sequence[int] | None = None):
        path = pathlib.Path(run)
        found = read_angles(path / FILE if path.is_dir() else path)
        if steps is None:
            shown = np.unique(np.linspace(0, len(found.steps) - 1, _MOST_STEPS).round().astype(int))
        elif missing := sorted(set(steps) - set(found.steps.tolist())):
            raise ValueError(f"{run}: there are no angles of step {missing[0]}; there are {found.steps.tolist()}.")
        else:
            shown = np.flatnonzero(np.isin(found.steps, list(steps)))
        self.counts = AngleCounts(*(column[shown] for column in found))

    def figure(self) -> Figure:
        figure, grid = panels(2, 6.5, 4, columns=2)
        colours = matplotlib.colormaps["viridis"](np.linspace(0.85, 0, len(self.counts.steps)))
        for axes, counts, title, to in (
            (grid[0], self.counts.positive, "positive", "own class"),
            (grid[1], self.counts.hardest_negative, "hardest negative", "nearest other class"),
        ):
            for step, row, colour in zip(self.counts.steps, counts, colours, strict=True):
                shares = 100 * row / max(row.sum(), 1)
                axes.stairs(shares, np.arange(BINS + 1), color=colour, linewidth=1.4, label=f"step {step:,}")
            axes.set_title(title, fontsize=10, loc="left")
            axes.set_xlim(0, BINS)
            axes.set_xticks(range(0, BINS + 1, 30))
            axes.set_ylim(bottom=0)
            axes.set_xlabel(f"angle to the class weight of the {to} (degrees)")
            axes.set_ylabel("images (% per degree)")
        grid[1].legend(fontsize=9)
        return figure
