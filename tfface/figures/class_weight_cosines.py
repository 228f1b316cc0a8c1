"""Cosines between the class weights of a run: D-Softmax's Figure 4."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfface.evaluation.metrics.weight_cosines import CosineDistribution, pairwise_cosines
from tfface.evaluation.reports.plots import COLOURS, draw_counts
from tfface.figures.base import PaperFigure, name_of, panels, several
from tfface.training.checkpoints.class_weights import read_class_weights


class ClassWeightCosines(PaperFigure):
    """Histograms of the cosines between all pairs of class weights, beside that of random directions.

    Args:
      run: folder of a run, or a list of several; a panel per run.
      classes: int, the most class weights of a run that are compared; of more, as many are drawn at random.
      seed: int, seed of the draw.

    Attributes:
      distributions: list of `CosineDistribution`, one per run.

    Raises:
      ValueError: a folder is not a run, or its head has fewer than two class weights.

    Reference:
      He et al., Softmax Dissection, AAAI 2020, Figure 4; it has 10,000 class weights.
    """

    def __init__(self, run: str | os.PathLike | Sequence[str | os.PathLike], classes: int = 10_000, seed: int = 0):
        if classes < 2:
            raise ValueError(f"`classes` must be at least 2, got {classes}.")
        self.runs = several(run)
        self.distributions: list[CosineDistribution] = []
        self._sizes: list[tuple[int, int, int]] = []
        for path in self.runs:
            weights = read_class_weights(path)[1]
            drawn = np.random.default_rng(seed).permutation(len(weights))[:classes]
            self.distributions.append(pairwise_cosines(weights[np.sort(drawn)]))
            self._sizes.append((len(drawn), *weights.shape))

    def figure(self) -> Figure:
        figure, grid = panels(len(self.runs), 7.5, 3.2)
        for axes, run, found, (drawn, count, dim) in zip(grid, self.runs, self.distributions, self._sizes, strict=True):
            of = f"{drawn:,}" if drawn == count else f"{drawn:,} of {count:,}"
            label = f"{of} class weights: {found.mean:.3f} ± {found.std:.3f}"
            draw_counts(axes, found.counts, found.edges, COLOURS[0], label)
            draw_random_directions(axes, found.edges, dim)
            axes.set_title(name_of(run), fontsize=10, loc="left", parse_math=False)
            axes.set_xlim(-1, 1)
            axes.set_ylim(bottom=0)
            axes.set_ylabel(f"pairs (% per bin of {np.diff(found.edges)[0]:.2f})")
            axes.legend(fontsize=9)
        grid[-1].set_xlabel("cosine between class weights")
        return figure


def draw_random_directions(axes, edges: np.ndarray, dim: int) -> None:
    """Draws the expected histogram of the cosines of random directions in `dim` > 1 dimensions, in percent per bin."""
    # The angle t between two of them has the density sin(t)^(dim - 2).
    places = np.cos(np.linspace(np.pi, 0, 200_001))
    within = np.cumsum(np.sin(np.linspace(np.pi, 0, 200_001)) ** (dim - 2))
    shares = np.diff(np.interp(edges, places, within / within[-1]))
    label = f"random directions: 0 ± {1 / np.sqrt(dim):.3f}"
    axes.stairs(100 * shares / shares.sum(), edges, color="black", linestyle="--", linewidth=1.2, label=label)
