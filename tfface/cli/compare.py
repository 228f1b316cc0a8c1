"""Puts the numbers of several runs and of papers side by side.

Example:
  tfface compare --runs=runs/cfp,evaluation/results.json --output=comparison.csv

A paper's line appears if it shares a dataset and a measure with the runs. Its numbers are of the whole protocol, in
percent unless the measure names another unit; a run's accuracy is followed by its number of pairs, which shows whether
it covers the whole protocol too.
"""

import pathlib

from absl import flags

from tfface.cli import program

_PAPERS_FILE = str(pathlib.Path(__file__).with_name("paper_results.csv"))

_RUNS = flags.DEFINE_list("runs", None, "Run folders, evaluation folders, or results.json files.", required=True)
_PAPERS = flags.DEFINE_string("papers", _PAPERS_FILE, "CSV file with the numbers of papers; empty: none.")
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing", False, "Compare runs of which a part of a protocol is missing too; the table says how much."
)
_OUTPUT = flags.DEFINE_string("output", None, "CSV file to write; the table is printed as well.")


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import csv_files
    from tfface.evaluation.reports import comparison, tables

    papers = comparison.read_papers(_PAPERS.value) if _PAPERS.value else []
    runs = [comparison.read_run(run) for run in _RUNS.value]
    incomplete = [f"{run.name}, {each}" for run in runs for each in run.incomplete]
    if incomplete and not _ALLOW_MISSING.value:
        raise ValueError(
            f"missing in {'; '.join(incomplete)}. Papers' numbers are of whole protocols; --allow_missing compares a "
            "part with them, and the table says how much it is."
        )
    rows = comparison.compare(runs, papers)
    print(tables.align(rows))
    if _OUTPUT.value:
        csv_files.write_report(_OUTPUT.value, rows[0], rows[1:])


if __name__ == "__main__":
    program.run(main)
