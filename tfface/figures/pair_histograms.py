"""Scores of genuine and impostor pairs: ArcFace's Figures 6 and 7, SphereFace2's Figure 5."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfface import export
from tfface.data.protocols.pair_lists import read_pairs
from tfface.evaluation.exact.pair_histograms import PairCounts, count_pairs
from tfface.evaluation.exact.similarity import pair_scores
from tfface.evaluation.reports.plots import COLOURS, IMPOSTOR_COLOUR, draw_counts
from tfface.figures.base import PaperFigure, name_of, panels, several


class PairHistograms(PaperFigure):
    """Histograms of genuine and impostor pairs, from files of embeddings; a panel per file.

    Without lists, genuine pairs are all pairs of one label, and impostor pairs are drawn at random.

    Args:
      embeddings: file that `tfface embed` wrote, or a list of several.
      pairs: official list of pairs, such as LFW's `pairs.txt`, to be counted instead; one for each file of embeddings.
      impostors: int, number of impostor pairs drawn.
      seed: int, seed of the draw.
      degrees: bool, angles in degrees; False: cosine similarities.

    Attributes:
      counts: list of `PairCounts`, one per file, between equal steps of the angle or of the cosine.

    Raises:
      ValueError: a file has another form, or no pairs of both kinds.
      OSError: a file cannot be read.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figures 6 and 7; Wen et al., SphereFace2, ICLR 2022, Figure 5.
    """

    def __init__(
        self,
        embeddings: str | os.PathLike | Sequence[str | os.PathLike],
        pairs: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        impostors: int = 500_000,
        seed: int = 0,
        degrees: bool = True,
    ):
        self.paths = several(embeddings)
        lists = several(pairs) if pairs else []
        if len(lists) not in (0, len(self.paths)):
            raise ValueError(f"`pairs` must name a list for each file, got {len(lists)} for {len(self.paths)} files.")
        self.degrees = degrees
        edges = np.cos(np.radians(np.linspace(180, 0, 181))) if degrees else np.linspace(-1, 1, 201)
        edges[[0, -1]] = -1, 1
        self.counts: list[PairCounts] = []
        for number, path in enumerate(self.paths):
            found = export.load_embeddings(path)
            if lists:
                self.counts.append(_listed(found, lists[number], edges))
            elif found.labels is None:
                raise ValueError(f"{path}: its images have no labels; `pairs` names a list of pairs instead.")
            else:
                self.counts.append(count_pairs(found.vectors, found.labels, edges, impostors, seed))

    def figure(self) -> Figure:
        figure, grid = panels(len(self.counts), 7.5, 3.2)
        for axes, path, (genuine, impostor, edges), colour in zip(
            grid, self.paths, self.counts, (COLOURS * len(grid))[: len(grid)], strict=True
        ):
            # From large angles to small ones is from small cosines to large ones.
            order = slice(None, None, -1) if self.degrees else slice(None)
            places = np.degrees(np.arccos(edges)) if self.degrees else edges
            for counts, shade, kind in ((impostor, IMPOSTOR_COLOUR, "impostor"), (genuine, colour, "genuine")):
                draw_counts(axes, counts[order], places[order], shade, f"{counts.sum():,} {kind} pairs")
            axes.set_title(name_of(path), fontsize=10, loc="left", parse_math=False)
            axes.set_xlim(places.min(), places.max())
            axes.set_ylim(bottom=0)
            axes.set_ylabel(f"pairs (% per {'degree' if self.degrees else 'bin of 0.01'})")
            axes.legend(fontsize=9)
        grid[-1].set_xlabel("angle between embeddings (degrees)" if self.degrees else "cosine similarity")
        return figure


def _listed(found, path, edges):
    pairs, _ = read_pairs(path).restrict(found.keys)
    if pairs.completeness and pairs.completeness.missing:
        raise ValueError(f"{path}: {pairs.completeness}; the file of embeddings must have all images of the list.")
    rows = {key: row for row, key in enumerate(found.keys)}
    left, right = (np.array([rows[key] for key in side.tolist()]) for side in (pairs.left, pairs.right))
    scores = np.clip(pair_scores(found.vectors, left, right), -1, 1)
    return PairCounts(*(np.histogram(scores[pairs.same == kind], edges)[0] for kind in (True, False)), edges)
