"""Pictures of a reproduction: the rows beside the paper's, and accuracy by step."""

import csv
import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from tfface.evaluation.reports.plots import COLOURS, IMPOSTOR_COLOUR
from tfface.jobs.reproduction.measured import Cell
from tfface.jobs.reproduction.plan import Plan

_LINES = ("-", "--", "-.", ":")


def draw_rows(found: Mapping[str, Mapping[str, Cell]], papers: Mapping[str, Mapping[str, float]], by: str) -> Figure:
    """Draws a measure of each row: mean, deviation and every seed; beside it, the paper's numbers.

    Args:
      found: dict from row to measures.
      papers: dict from row to the paper's numbers by measure; all that share a name with no measure here, too.
      by: the measure to draw.
    """
    rows = list(found)
    shown = list(dict.fromkeys(name for values in papers.values() for name in values))
    shown = [by] if by in shown else shown[-1:]
    figure = Figure(figsize=(9.5, 1.3 + 0.36 * len(rows)), layout="constrained")
    here, *there = figure.subplots(1, 1 + bool(shown), sharey=True, squeeze=False)[0]
    for place, row in enumerate(rows):
        cell = found[row].get(by, Cell([]))
        if not cell.values:
            continue
        error = None if math.isnan(cell.deviation) else cell.deviation
        here.errorbar(cell.mean, place, xerr=error, fmt="o", color=COLOURS[0], capsize=4)
        here.plot(cell.values, [place] * len(cell.values), "|", color=IMPOSTOR_COLOUR, markersize=9)
    here.set_yticks(range(len(rows)), rows)
    here.set_ylim(len(rows) - 0.5, -0.5)
    here.set_xlabel(f"here: {_unit(by)}")
    for axes in there:
        for place, row in enumerate(rows):
            if shown[0] in papers.get(row, {}):
                axes.plot(papers[row][shown[0]], place, "D", color=COLOURS[1])
        axes.set_xlabel(f"the paper: {_unit(shown[0])}")
    for axes in (here, *there):
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def draw_curves(plan: Plan) -> Figure | None:
    """Draws accuracy on held-out pairs by step, a line a row: the mean over finished seeds, and their range.

    Returns:
      matplotlib Figure; None if no training verified.
    """
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    axes = figure.add_subplot()
    drawn = False
    for number, experiment in enumerate(plan.chosen):
        curves = [curve for run in plan.runs_of(experiment) if run.finished and (curve := _curve(run.folder))]
        if experiment.name in plan.same or not curves:
            continue
        drawn = True
        steps = sorted(set(curves[0]).intersection(*curves[1:]))
        values = np.array([[curve[step] for step in steps] for curve in curves])
        colour, line = COLOURS[number % len(COLOURS)], _LINES[number // len(COLOURS) % len(_LINES)]
        mean, lowest, highest = values.mean(axis=0), values.min(axis=0), values.max(axis=0)
        axes.plot(steps, mean, label=experiment.name, marker="o", markersize=3, color=colour, linestyle=line)
        axes.fill_between(steps, lowest, highest, color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("step")
    axes.set_ylabel("accuracy on held-out pairs (%)")
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    if drawn:
        axes.legend(fontsize=9)
    return figure if drawn else None


def _curve(folder):
    """Returns {step: mean accuracy in % over the lists of pairs} of a run."""
    found: dict[int, list[float]] = {}
    path = folder / "verification.csv"
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                found.setdefault(int(line["step"]), []).append(100 * float(line["accuracy"]))
    return {step: float(np.mean(values)) for step, values in found.items()}


def _unit(measure):
    return measure if measure.endswith(")") else f"{measure} (%)"
