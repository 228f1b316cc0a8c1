"""Angle of each class weight of a run to the nearest one of another class: the W-Inter of ArcFace, as a histogram."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfface import progress
from tfface.evaluation.metrics.directions import angles_of_cosines
from tfface.evaluation.metrics.random_directions import nearest_neighbour_angle
from tfface.evaluation.metrics.weight_cosines import nearest_cosines
from tfface.evaluation.reports.plots import COLOURS, draw_counts
from tfface.figures.base import PaperFigure, name_of, panels, several
from tfface.training.checkpoints.class_weights import read_class_weights


class NearestClassWeights(PaperFigure):
    """Histograms of the angle from each class weight to the nearest one of another class, in degrees.

    A line marks the expected angle between as many random directions. Memory is bounded for a million classes.

    Args:
      run: folder of a run, or a list of several; a panel per run.

    Attributes:
      angles: list of float64 [K C] in degrees, one array per run; K classes have C sub-centers each.

    Raises:
      ValueError: a folder is not a run, or its head has class weights of fewer than two classes.

    Reference:
      Deng et al., ArcFace, CVPR 2019, W-Inter of Table 3; arXiv 1801.07698, Equation 7 and Figure 12.
    """

    def __init__(self, run: str | os.PathLike | Sequence[str | os.PathLike]):
        self.runs = several(run)
        self.angles: list[np.ndarray] = []
        self._sizes: list[tuple[int, int]] = []
        for path in self.runs:
            names, weights = read_class_weights(path)
            nearest = nearest_cosines(weights, len(weights) // max(len(names), 1), progress.bar_of("search"))
            self.angles.append(angles_of_cosines(nearest))
            self._sizes.append(weights.shape)

    def figure(self) -> Figure:
        figure, grid = panels(len(self.runs), 7.5, 3.2)
        edges = np.arange(181)
        for axes, run, angles, (count, dim) in zip(grid, self.runs, self.angles, self._sizes, strict=True):
            label = f"{count:,} class weights, mean {angles.mean():.1f}°"
            draw_counts(axes, np.histogram(angles, edges)[0], edges, COLOURS[0], label)
            if dim > 1:
                expected = nearest_neighbour_angle(count, dim)
                label = f"random directions, mean {expected:.1f}°"
                axes.axvline(expected, color="black", linestyle="--", linewidth=1.2, label=label)
            axes.set_title(name_of(run), fontsize=10, loc="left", parse_math=False)
            axes.set_xlim(0, 180)
            axes.set_ylim(bottom=0)
            axes.set_ylabel("class weights (% per degree)")
            axes.legend(fontsize=9)
        grid[-1].set_xlabel("angle to the nearest class weight of another class (degrees)")
        return figure
