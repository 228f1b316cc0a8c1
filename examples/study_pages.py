"""Tables and pictures of the studies, from the file of their runs."""

import math
import pathlib
import statistics

import study_runs

import tfface.cli
from tfface import files
from tfface.evaluation.reports import plots
from tfface.jobs.reproduction import measured, pictures, tables
from tfface.jobs.reproduction.measured import Cell

_RECALL, _TAR = study_runs.MEASURES[:2]
_OF_WEIGHTS = [name for name in study_runs.MEASURES if name.endswith(("(degrees)", "std"))]
_PAPERS = pathlib.Path(tfface.cli.__file__).with_name("paper_results.csv")


def write(studies, folder, steps):
    """Writes the table and the picture of each study with finished runs.

    The table stands between `<!-- NAME -->` and `<!-- end of NAME -->` in `PAGE.md`; the rest of the page is left as
    it is.

    Args:
      studies: list of `Study`.
      folder: of the pages and of `runs.csv`.
      steps: int, of the trainings to show.
    """
    folder, found = pathlib.Path(folder), study_runs.read(pathlib.Path(folder) / "runs.csv", steps)
    known = tables.read_tables(_PAPERS)
    for study in studies:
        rows = {row.name: _best(row, found) for row in study.rows}
        if not any(cells[_RECALL].values for _, cells in rows.values()):
            continue
        papers = _of_paper(study, known)
        path = folder / f"{study.page}.md"
        page = path.read_text(encoding="utf-8") if path.is_file() else f"# {study.page.capitalize()}\n"
        begin, end = f"<!-- {study.name} -->", f"<!-- end of {study.name} -->"
        if begin not in page:
            page += f"\n## {study.about[0].upper()}{study.about[1:]}\n\n{begin}\n{end}\n"
        text = "\n".join(_lines(study, rows, papers, found))
        before, after = page.partition(begin)[0], page.partition(end)[2]
        files.write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}".encode())
        files.write_atomically(folder / f"{study.name}.svg", plots.to_svg(_picture(study, rows, papers)))


def _best(row, found):
    """Returns the settings and the cells, dict from measure to `Cell`, of the training with the highest mean recall."""
    trainings = []
    for settings in row.trainings():
        runs = [measures for (name, _), measures in sorted(found.items()) if name == settings]
        cells = {name: Cell([run[name] for run in runs]) for name in study_runs.MEASURES}
        trainings.append((settings, cells))
    return max(trainings, key=lambda training: -math.inf if math.isnan(mean := training[1][_RECALL].mean) else mean)


def _of_paper(study, known):
    """Returns the paper's numbers of the rows that it has, dict from name to dict from measure to float."""
    if not study.table:
        return {}
    table = known[study.table]
    numbers = {experiment.name: table.numbers[experiment.key] for experiment in table.experiments}
    return {row.name: numbers[row.name] for row in study.rows if row.name in numbers}


def _lines(study, rows, papers, found):
    shown = _OF_WEIGHTS if study.angles else [_RECALL, _TAR]
    by = measured.ranked_by(papers) if papers else []
    header = ["row", "training", *shown, *([f"the paper: {measured.named(by)}"] if by else [])]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, (settings, cells) in rows.items():
        numbers = papers.get(name, {})
        here = [_text(cells[measure], numbers.get(measure.replace("held-out", "LFW"))) for measure in shown]
        theirs = [f"{statistics.fmean(numbers[key] for key in by):.2f}" if numbers else "–"] if by else []
        lines.append(f"| {' | '.join([name, f'`{settings}`', *here, *theirs])} |")
    ours = {name: cells[_RECALL] for name, (_, cells) in rows.items()}
    order = measured.compare_orders(papers, ours, [_RECALL], by) if by else None
    trained = {settings for row in study.rows for settings in row.trainings()}
    seconds = [measures["seconds"] for (settings, _), measures in found.items() if settings in trained]
    lines += ["", f"{len(seconds)} runs, {sum(seconds) / 60:.1f} minutes on one core."]
    if order:
        lines += [
            f"{order}",
            "",
            *(
                f"* {what}: {'; '.join(' > '.join(pair) for pair in pairs)}."
                for what, pairs in (("Reversed", order.reversed), ("Within the deviation", order.hidden))
                if pairs
            ),
        ]
    return [*lines, "", f"![{study.about}]({study.name}.svg)"]


def _text(cell, paper):
    if not cell.values or math.isnan(cell.mean):
        return "–"
    deviation = "" if math.isnan(cell.deviation) else f" ± {cell.deviation:.2g}"
    seeds = "" if len(cell.values) > 2 else f", {len(cell.values)} of the seeds"
    mean = f"{cell.mean:#.3g}".rstrip(".")
    return f"{mean}{deviation}{seeds}" + ("" if paper is None else f" ({paper:g})")


def _picture(study, rows, papers):
    measure = _OF_WEIGHTS[0] if study.angles else _RECALL
    by = [measure] if study.angles else measured.ranked_by(papers) if papers else []
    label = measured.named(by) if by else ""
    theirs = {name: {label: statistics.fmean(numbers[key] for key in by)} for name, numbers in papers.items() if by}
    return pictures.draw_rows({name: cells for name, (_, cells) in rows.items()}, theirs, measure)
