"""Pictures of results: ROC and CMC curves, and histograms of genuine and impostor scores."""

import io
import itertools
import os
from collections.abc import Iterable, Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tfface import files
from tfface.evaluation.metrics.directions import angles_of_cosines
from tfface.evaluation.metrics.protocol_result import Curve
from tfface.evaluation.metrics.verification import roc
from tfface.evaluation.metrics.verification_result import VerificationResult, several

# Okabe and Ito's palette, which colour-blind readers can tell apart; its yellow is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
IMPOSTOR_COLOUR = "#8C8C8C"
_AXES = {
    "ROC": ("false accept rate FAR (fraction of impostors)", "true accept rate TAR (fraction of genuine pairs)"),
    "CMC": ("rank", "probes found up to this rank (fraction)"),
    "DET": ("false positive identification rate FPIR", "false negative identification rate FNIR"),
}
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def plot_report(
    results: VerificationResult | Iterable[VerificationResult], path: str | os.PathLike, title: str
) -> None:
    """Draws the ROC curves of all results and a similarity histogram per result into one PNG.

    A curve starts at the smallest FAR that its impostor pairs can measure, that of one impostor; dots mark the reported
    TARs.

    Args:
      results: VerificationResult, or several; after six, colours repeat with other dashes.
      path: PNG file to write; a reader sees the old file or the whole new one.
      title: str above the picture.

    Raises:
      ValueError: there are no results.
    """
    drawn = _some(several(results))
    figure = Figure(figsize=(13, max(5.0, 1.5 + 1.4 * len(drawn))), dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=14, parse_math=False)
    grid = figure.add_gridspec(len(drawn), 2, width_ratios=(1.05, 1))
    _draw_roc(figure.add_subplot(grid[:, 0]), drawn)
    _draw_histograms([figure.add_subplot(grid[row, 1]) for row in range(len(drawn))], drawn)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    files.write_atomically(path, picture.getvalue())


def roc_figure(results: VerificationResult | Iterable[VerificationResult]) -> Figure:
    """Draws the ROC curves of one VerificationResult or several as a matplotlib Figure."""
    drawn = _some(several(results))
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    _draw_roc(figure.add_subplot(), drawn)
    return figure


def histogram_figure(results: VerificationResult | Iterable[VerificationResult], degrees: bool = False) -> Figure:
    """Draws histograms of the similarities of genuine and impostor pairs, a panel per result.

    Args:
      results: VerificationResult, or several.
      degrees: bool, angles in degrees instead of cosine similarities.

    Returns:
      matplotlib Figure.

    Raises:
      ValueError: there are no results.

    Reference:
      Wen et al., SphereFace2, ICLR 2022, Figure 5 (similarities); Deng et al., ArcFace, CVPR 2019, Figures 6 and 7
      (angles).
    """
    drawn = _some(several(results))
    figure = Figure(figsize=(7.5, 1.0 + 2.0 * len(drawn)), layout="constrained")
    _draw_histograms(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn, degrees)
    return figure


def cmc_figure(curves: Mapping[str, np.ndarray]) -> Figure:
    """Draws cumulative match characteristics: the fraction of probes found among the first r of the gallery.

    Args:
      curves: dict from name to float [R], the rates at the ranks 1 to R; at least one.

    Returns:
      matplotlib Figure.

    Raises:
      ValueError: there are no curves.
    """
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for (name, rates), colour, line in zip(_some(curves.items()), *_styles(), strict=False):
        ranks = np.arange(1, len(rates) + 1)
        axes.plot(ranks, rates, color=colour, linestyle=line, linewidth=1.8, marker="o", markersize=3, label=name)
    axes.set_xlabel("rank")
    axes.set_ylabel("probes found up to this rank (fraction)")
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    if len(curves) > 1:
        _legend(axes, loc="lower right")
    return figure


def curve_figure(curves: Mapping[str, Curve]) -> Figure:
    """Draws curves of one kind (dict from name to `Curve`, at least one) as a matplotlib Figure."""
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    drawn = _some(curves.items())
    kind = drawn[0][1].kind
    for (name, curve), colour, line in zip(drawn, *_styles(), strict=False):
        marks = {"marker": "o", "markersize": 3} if kind == "CMC" else {"drawstyle": "steps-post"}
        axes.plot(curve.x, curve.y, color=colour, linestyle=line, linewidth=1.8, label=name, **marks)
    if kind != "CMC":
        axes.set_xscale("log")
    x, y = _AXES[kind]
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    _legend(axes, loc="best")
    return figure


def to_svg(figure: Figure) -> bytes:
    """Renders a figure as SVG, without date or version, so that the same figure gives the same bytes.

    Args:
      figure: matplotlib Figure.

    Returns:
      bytes.
    """
    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tfface", "svg.fonttype": "path"}):
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _some(results):
    results = list(results)
    if not results:
        raise ValueError("a picture needs at least one result, got none.")
    return results


def _legend(axes, **options):
    """Adds a legend of plain text, because matplotlib would read dollar signs in file names as formulas."""
    for text in axes.legend(fontsize=9, **options).get_texts():
        text.set_parse_math(False)


def _draw_roc(axes, results):
    lowest = 1.0
    for result, colour, line in zip(results, *_styles(), strict=False):
        far, tar, _ = roc(result.genuine_scores, result.impostor_scores)
        # A reader cannot see more than 500 steps of millions of points.
        shown = np.geomspace(1 / len(result.impostor_scores), 1, 500)
        accuracy = f"{100 * result.accuracy.mean:.2f} ± {100 * result.accuracy.std:.2f} %"
        label = f"{result.name}: accuracy {accuracy}, EER {100 * result.eer:.2f} %"
        # Rounding must not push the first point below the FAR of one impostor.
        heights = tar[np.searchsorted(far, shown * (1 + 1e-12), "right") - 1]
        lowest = min(lowest, heights[0])
        axes.step(shown, heights, where="post", color=colour, linestyle=line, linewidth=1.8, label=label)
        points = [(far, point.tar) for far, point in result.tar_at_far.items() if np.isfinite(point.tar)]
        axes.plot(*np.transpose(points or [(np.nan, np.nan)]), "o", color=colour, markersize=5)
    axes.set_xscale("log")
    axes.set_ylim(lowest - 0.08 * (1 - lowest) - 0.002, 1 + 0.03 * (1 - lowest) + 0.001)
    axes.set_xlim(right=1)
    axes.set_xlabel("false accept rate FAR (fraction of impostor pairs)")
    axes.set_ylabel("true accept rate TAR (fraction of genuine pairs)")
    axes.grid(which="major", color="#DDDDDD", linewidth=0.8)
    axes.grid(which="minor", axis="x", color="#EFEFEF", linewidth=0.5)
    axes.set_axisbelow(True)
    _legend(axes, loc="lower right", framealpha=0.95)


def _draw_histograms(panels, results, degrees=False):
    unit = angles_of_cosines if degrees else np.asarray
    drawn = [unit(values) for result in results for values in (result.genuine_scores, result.impostor_scores)]
    # The margin keeps bins apart if a collapsed model gives every pair the same score.
    margin = 0.5 if degrees else 0.005
    edges = np.linspace(min(map(np.min, drawn)) - margin, max(map(np.max, drawn)) + margin, 81)
    for axes, result, colour in zip(panels, results, _styles()[0], strict=False):
        for scores, shade, kind in (
            (result.impostor_scores, IMPOSTOR_COLOUR, "impostor pairs"),
            (result.genuine_scores, colour, "genuine pairs"),
        ):
            draw_counts(axes, np.histogram(unit(scores), edges)[0], edges, shade, kind)
        if np.isfinite(result.threshold):
            threshold = float(unit(result.threshold))
            label = f"threshold {threshold:.1f}°" if degrees else f"threshold {threshold:.3f}"
            axes.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=label)
        axes.set_title(result.name, fontsize=10, loc="left", parse_math=False)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylabel("% of pairs per bin")
        # Beside the panel, because inside it would hide bars or the threshold.
        axes.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.tick_params(labelbottom=axes is panels[-1])
    width = edges[1] - edges[0]
    panels[-1].set_xlabel(
        f"angle, degrees (bins of {width:.2f})" if degrees else f"cosine similarity (bins of {width:.3f})"
    )


def _styles():
    """Returns endless colours and line styles; the styles shift by one with every round of colours."""
    colours = itertools.cycle(COLOURS)
    lines = (_LINES[(number + number // len(COLOURS)) % len(_LINES)] for number in itertools.count())
    return colours, lines


def draw_counts(axes, counts: np.ndarray, edges: np.ndarray, colour: str, label: str) -> None:
    """Draws a histogram, int [bins] counts between float [bins + 1] edges, as percentages of all that it counts."""
    heights = 100 * counts / max(counts.sum(), 1)
    axes.stairs(heights, edges, fill=True, color=colour, alpha=0.45)
    axes.stairs(heights, edges, color=colour, linewidth=1.4, label=label)
