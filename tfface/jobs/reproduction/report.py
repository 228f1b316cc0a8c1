"""The files of a reproduction: a page, the same in Markdown, pictures, and numbers as CSV."""

import math
import shlex
from collections.abc import Mapping

import tfface
from tfface import csv_files, files
from tfface.evaluation.reports import html_page, plots
from tfface.jobs.reproduction import pictures
from tfface.jobs.reproduction.measured import Cell, Order, orders
from tfface.jobs.reproduction.plan import Plan

_DEVIATION = (
    "Numbers are mean ± standard deviation over the seeds. A difference between two rows counts if it is larger than "
    "the root of the sum of their squared deviations; a difference from the paper, if it is larger than the deviation."
)


def write_report(plan: Plan, found: Mapping[str, Mapping[str, Cell]], failed: Mapping[str, str]) -> None:
    """Writes `report.html`, `report.md`, `results.csv`, `rows.svg` and `curves.svg` to the folder of the plan.

    Args:
      plan: `Plan`.
      found: what `measure` returned.
      failed: dict from the name of a failed run to the reason.

    Raises:
      OSError: a file cannot be written.
    """
    output, order = plan.options.output, orders(plan, found)
    header, *rows = table_rows(plan, found)
    title = f"{plan.table.paper}, {plan.table.label}: {plan.table.about}"
    states, drawn = state(plan, failed), _draw(plan, found)
    for name, (picture, _) in drawn.items():
        files.write_atomically(output / name, picture)
    _write_csv(plan, found)
    facts = _facts(plan)
    html_page.write_page(
        output / "report.html",
        title,
        [
            html_page.section(
                "Results",
                html_page.table("Measured, and the paper's numbers", header, rows),
                html_page.paragraph(_DEVIATION),
                *map(html_page.paragraph, states),
            ),
            html_page.section("The paper's order", *map(html_page.paragraph, order_lines(order))),
            *([html_page.section("Pictures", html_page.charts(*drawn.values()))] if drawn else []),
            html_page.section(
                "What differs from the paper",
                html_page.table("Substitutions", ["", "the paper's flagfile", "here"], plan.substitutions)
                if plan.substitutions
                else html_page.paragraph("Nothing: the flagfiles as they are."),
            ),
            html_page.section("How these numbers were made", html_page.definitions(facts)),
        ],
    )
    lines = [f"# {title}", "", *_markdown(header, rows), "", _DEVIATION, *states, ""]
    lines += ["## The paper's order", "", *order_lines(order), ""]
    lines += [line for name, (_, spoken) in drawn.items() for line in (f"![{spoken}]({name})", "")]
    lines += ["## What differs from the paper", ""]
    lines += _markdown(["", "the paper's flagfile", "here"], plan.substitutions) or ["Nothing."]
    lines += ["", "## How these numbers were made", "", *(f"* {name}: `{value}`" for name, value in facts.items())]
    files.write_atomically(output / "report.md", "\n".join([*lines, ""]).encode())


def table_rows(plan: Plan, found: Mapping[str, Mapping[str, Cell]]) -> list[list[str]]:
    """Returns the rows of the table, the header first: what was measured, then the paper's numbers.

    An asterisk marks a difference from the paper that exceeds the deviation.
    """
    measures = list(dict.fromkeys(name for cells in found.values() for name, cell in cells.items() if cell.values))
    papers = plan.table.measures
    rows = [["row", "seeds", *measures, *(f"paper: {name}" for name in papers)]]
    for experiment in plan.chosen:
        cells, numbers = found[experiment.name], plan.table.numbers.get(experiment.key, {})
        runs = plan.runs_of(experiment)
        seeds = f"{sum(run.finished for run in runs)} of {len(runs)}"
        here = [_text(cells.get(name, Cell([]))) for name in measures]
        rows.append(
            [experiment.name, seeds, *here, *(f"{numbers[name]:g}" if name in numbers else "–" for name in papers)]
        )
    return rows


def order_lines(order: Order | None) -> list[str]:
    """Returns sentences about the order of the rows."""
    if order is None:
        return ["The order cannot be compared: it takes numbers of the paper and two seeds of two rows."]
    lines = [str(order)]
    for what, pairs in (("Reversed", order.reversed), ("Within the deviation", order.hidden), ("Shown", order.shown)):
        if pairs:
            lines.append(f"{what} (better – worse in the paper): {'; '.join(' – '.join(pair) for pair in pairs)}.")
    return lines


def state(plan: Plan, failed: Mapping[str, str]) -> list[str]:
    """Returns sentences about runs that failed, are not finished or were left out."""
    finished = [run for run in plan.runs if run.finished]
    lines = [f"{len(finished)} of {len(plan.runs)} runs are finished."]
    lines += [f"Failed: {name}: {reason}" for name, reason in failed.items()]
    left_out = [row.name for row in plan.table.experiments if row not in plan.chosen]
    if left_out:
        lines.append(f"{len(left_out)} rows were left out by --rows: {', '.join(left_out)}.")
    lines += [f"{row} is the same training as {other}." for row, other in plan.same.items()]
    return lines


def _draw(plan, found):
    """Returns {file name: (SVG, alternative text)}."""
    measured = list(dict.fromkeys(name for cells in found.values() for name, cell in cells.items() if cell.values))
    if not measured:
        return {}
    papers = {row.name: plan.table.numbers.get(row.key, {}) for row in plan.chosen}
    by = next((name for name in reversed(plan.table.measures) if name in measured), measured[0])
    spoken = "; ".join(f"{row}: {_text(cells[by])}" for row, cells in found.items() if by in cells and cells[by].values)
    drawn = {"rows.svg": (plots.to_svg(pictures.draw_rows(found, papers, by)), f"{by} by row. {spoken}.")}
    if curves := pictures.draw_curves(plan):
        drawn["curves.svg"] = (plots.to_svg(curves), "Accuracy on held-out pairs by step.")
    return drawn


def _write_csv(plan, found):
    header = ["row", "measure", "seeds", "mean", "deviation", "paper", "difference", "exceeds_deviation", "values"]
    rows = []
    for row, cells in found.items():
        for name, cell in cells.items():
            numbers = [None if math.isnan(each) else round(each, 4) for each in (cell.mean, cell.deviation)]
            difference = None if cell.paper is None or not cell.values else round(cell.mean - cell.paper, 4)
            exceeds = None if cell.exceeds is None else int(cell.exceeds)
            values = " ".join(f"{value:.4f}" for value in cell.values)
            rows.append([row, name, len(cell.values), *numbers, cell.paper, difference, exceeds, values])
        for name, value in plan.table.numbers.get(_key(plan, row), {}).items():
            if name not in cells:
                rows.append([row, name, 0, None, None, value, None, None, None])
    csv_files.write_report(plan.options.output / "results.csv", header, rows)


def _key(plan, row):
    return next(experiment.key for experiment in plan.chosen if experiment.name == row)


def _facts(plan):
    options = plan.options
    rows = [f"--rows={','.join(options.rows)}"] if options.rows else []
    given = [
        f"--table={plan.table.name}",
        f"--scale={options.scale}",
        *([f"--data={options.data}"] if options.data else []),
    ]
    given += [*rows, f"--seeds={options.seeds}", *([f"--steps={options.steps}"] if options.steps else [])]
    given += [f"--train_flags={shlex.join(options.train_flags)}"] if options.train_flags else []
    return {
        "command": f"tfface reproduce {shlex.join([*given, f'--output={options.output}'])}",
        "tfface": tfface.__version__,
        "seeds": f"0 to {options.seeds - 1}",
        "training of a row": f"tfface {shlex.join(plan.runs[0].train)}",
    }


def _text(cell):
    if not cell.values:
        return "–"
    deviation = "" if math.isnan(cell.deviation) else f" ± {cell.deviation:.2f}"
    return f"{cell.mean:.2f}{deviation}{'*' if cell.exceeds else ''}"


def _markdown(header, rows):
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(header), ["---"] * len(header), *rows]] if rows else []
