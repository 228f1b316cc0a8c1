"""The results of the runs of a table: means and deviations over seeds, beside the paper's numbers and its order."""

import dataclasses
import itertools
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence

from tfface.evaluation.reports import comparison
from tfface.evaluation.reports.tables import read_results
from tfface.jobs.reproduction.plan import Plan
from tfface.jobs.reproduction.tables import UNMEASURED

_ANGLE = "(degrees)"
_NOT_RANKED = (*UNMEASURED, _ANGLE)
_COMBINED = "Combined accuracy"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A measure of a row.

    Attributes:
      values: list of float, one for each seed that is finished.
      paper: the paper's number, or None.
    """

    values: list[float]
    paper: float | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds; NaN for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def exceeds(self) -> bool | None:
        """Whether the difference from the paper exceeds the deviation; None if one of them is unknown."""
        if self.paper is None or math.isnan(self.deviation):
            return None
        return abs(self.mean - self.paper) > self.deviation


@dataclasses.dataclass(frozen=True)
class Order:
    """How often two rows come in the paper's order.

    Attributes:
      by, paper_by: names of the measure here and in the paper.
      shown: list of (better, worse), rows by the paper: the same order here, by more than the deviation.
      reversed: the other order, by more than the deviation.
      hidden: the difference here is within the deviation.
    """

    by: str
    paper_by: str
    shown: list[tuple[str, str]]
    reversed: list[tuple[str, str]]
    hidden: list[tuple[str, str]]

    def __str__(self):
        count = len(self.shown) + len(self.reversed) + len(self.hidden)
        return (
            f"{len(self.shown)} of the paper's {count} orders of two rows show, {len(self.reversed)} are reversed and "
            f"{len(self.hidden)} are within the deviation (here by {self.by}, in the paper by {self.paper_by})."
        )


def measure(plan: Plan) -> dict[str, dict[str, Cell]]:
    """Reads the results of the finished runs.

    Returns:
      dict from row to dict from measure to `Cell`; at the paper's scale with the paper's measures first. Angles are
      left out unless the paper's table is of angles.

    Raises:
      ValueError: a file of results is damaged.
    """
    found: dict[str, dict[str, Cell]] = {}
    angles = any(name.endswith(_ANGLE) for name in plan.table.measures)
    for experiment in plan.chosen:
        paper = plan.table.numbers.get(experiment.key, {}) if plan.options.scale == "paper" else {}
        cells = {name: Cell([], value) for name, value in paper.items()}
        for run in plan.runs_of(experiment):
            for name, value in (values_of(run.results) if run.finished else {}).items():
                if angles or not name.endswith(_ANGLE):
                    cells.setdefault(name, Cell([])).values.append(value)
        found[experiment.name] = cells
    return found


def values_of(folders: Sequence[pathlib.Path]) -> dict[str, float]:
    """Returns the numbers of one run by measure, in percent unless the measure names its unit."""
    values = {}
    for folder in folders:
        for name, text in comparison.read_run(folder).values.items():
            if text != "n/a":
                values[name] = float(text.split()[0])
        identification = read_results(folder / "results.json").get("identification")
        rates = identification.get("rank_rates") if isinstance(identification, dict) else None
        if isinstance(rates, dict) and isinstance(rate := rates.get("1"), int | float):
            values["rank-1"] = 100 * rate
    return values


def orders(plan: Plan, found: Mapping[str, Mapping[str, Cell]]) -> Order | None:
    """Compares the paper's order of each two rows with the order here, as `compare_orders` does.

    Returns:
      `Order`; None if the paper has no numbers to compare or no two rows have two finished seeds.
    """
    papers = {row.name: plan.table.numbers.get(row.key, {}) for row in plan.chosen}
    cells = {name: {key: cell for key, cell in row.items() if cell.values} for name, row in found.items()}
    here_by = [key for key in ranked_by(papers) if all(key in row for row in cells.values())] or _accuracies(cells)
    # One training has one number here.
    rows = {name: row for name, row in cells.items() if name not in plan.same}
    ours = {name: _mean([row[key] for key in here_by if key in row]) for name, row in rows.items()}
    return compare_orders({name: papers[name] for name in ours}, ours, here_by, ranked_by(papers)) if here_by else None


def compare_orders(
    papers: Mapping[str, Mapping[str, float]],
    ours: Mapping[str, Cell],
    by: Sequence[str],
    paper_by: Sequence[str],
) -> Order | None:
    """Compares the paper's order of each two rows with the order here.

    A difference exceeds the deviation if it is larger than the root of the sum of both rows' squared deviations.

    Args:
      papers: dict from row to the paper's numbers by measure.
      ours: dict from row to `Cell`.
      by: names of the measures in `ours`.
      paper_by: the measures whose mean orders the paper's rows, from `ranked_by`.

    Returns:
      `Order`; None if the paper has no numbers to compare or no two rows have two finished seeds.
    """
    kinds: dict[str, list[tuple[str, str]]] = {"shown": [], "reversed": [], "hidden": []}
    for pair in itertools.combinations(papers, 2) if paper_by else ():
        theirs = [statistics.fmean(papers[name][key] for key in paper_by) for name in pair]
        first, second = (ours[name] for name in pair)
        if theirs[0] == theirs[1] or math.isnan(first.deviation) or math.isnan(second.deviation):
            continue
        difference = (first.mean - second.mean) * (1 if theirs[0] > theirs[1] else -1)
        better, worse = pair if theirs[0] > theirs[1] else pair[::-1]
        beyond = abs(difference) > math.hypot(first.deviation, second.deviation)
        kinds["hidden" if not beyond else "shown" if difference > 0 else "reversed"].append((better, worse))
    return Order(named(by), named(paper_by), **kinds) if any(kinds.values()) else None


def ranked_by(papers: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the measures by which the paper's rows are put in order: those that all have; a combined one alone."""
    rows = list(papers.values())
    shared = [name for name in rows[0] if all(name in row for row in rows) and not name.endswith(_NOT_RANKED)]
    return [_COMBINED] if _COMBINED in shared else shared


def _accuracies(cells):
    rows = list(cells.values())
    return [name for name in rows[0] if name.endswith(" accuracy")] if rows and rows[0] else []


def _mean(cells):
    """The mean of several measures of a row, seed by seed."""
    return Cell([statistics.fmean(values) for values in zip(*(cell.values for cell in cells), strict=False)])


def named(measures: Sequence[str]) -> str:
    return measures[0] if len(measures) == 1 else f"the mean of {', '.join(measures)}"
