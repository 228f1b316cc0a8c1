"""Room for identities on the sphere: Figure 12 of ArcFace's arXiv version."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfface.evaluation.metrics.random_directions import closest_pair_angle, nearest_neighbour_angle
from tfface.evaluation.reports.plots import COLOURS
from tfface.figures.base import PaperFigure, panels


class RandomDirections(PaperFigure):
    """Expected angles between random class weights, by the number of classes and the dimension; needs no files.

    Args:
      dims: dimensions of the embedding, one line for each.
      smallest: int, number of classes at the left end of the axis.
      largest: int, number of classes at the right end.
      nearest: bool, also draw the expected angle of a direction to its nearest neighbour, which is larger than the
        expected angle of the closest pair.

    Raises:
      ValueError: a dimension or a number is smaller than 2, or `largest` is not larger than `smallest`.

    Reference:
      Deng et al., ArcFace, arXiv 1801.07698, Equation 7 and Figure 12.
    """

    def __init__(
        self,
        dims: Sequence[int] = (128, 256, 512),
        smallest: int = 10_000,
        largest: int = 100_000_000,
        nearest: bool = False,
    ):
        if not dims or min(dims) < 2 or not 2 <= smallest < largest:
            raise ValueError(
                "`dims` must be at least 2 each and `largest` larger than `smallest`, at least 2; got "
                f"{list(dims)}, {largest} and {smallest}."
            )
        self.dims, self.nearest = list(dims), nearest
        self.counts = np.unique(np.geomspace(smallest, largest, 41).round().astype(np.int64))

    def figure(self) -> Figure:
        figure, (axes,) = panels(1, 9.5, 4.5)
        for number, dim in enumerate(self.dims):
            colour = COLOURS[number % len(COLOURS)]
            angles = [closest_pair_angle(int(count), dim) for count in self.counts]
            axes.plot(self.counts, angles, color=colour, linewidth=1.8, label=f"{dim} dimensions, closest pair")
            if self.nearest:
                angles = [nearest_neighbour_angle(int(count), dim) for count in self.counts]
                label = f"{dim} dimensions, nearest neighbour"
                axes.plot(self.counts, angles, color=colour, linewidth=1.8, linestyle="--", label=label)
        axes.set_xscale("log")
        axes.set_xlabel("number of classes")
        axes.set_ylabel("expected angle (degrees)")
        axes.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure
