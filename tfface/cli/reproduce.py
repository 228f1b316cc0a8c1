"""Reruns a table of a paper, its rows with several seeds, and puts what it measures beside the paper's numbers.

Examples:
  tfface reproduce --list
  tfface reproduce --table=sphereface2/3 --scale=small --data=omniglot_background.zip
  tfface reproduce --table=arcface/2 --data=records/casia --dry_run

Each row and seed is a training of its own. The same command continues after an interruption: finished runs are not
repeated. --scale=small runs the same comparison in minutes a run, with a small network on small data, and says what it
changes. OUTPUT holds the page, report.html, and the numbers, results.csv.
"""

import pathlib
import shlex

from absl import flags

from tfface.cli import program

_PAPERS_FILE = pathlib.Path(__file__).with_name("paper_results.csv")

_TABLE = flags.DEFINE_string("table", None, "Table of a paper, such as sphereface2/3; --list shows all.")
_LIST = flags.DEFINE_bool("list", False, "List the tables with the number of their rows and of the paper's numbers.")
_SCALE = flags.DEFINE_enum("scale", "paper", ["paper", "small"], "The paper's own settings, or a small comparison.")
_DATA = flags.DEFINE_string(
    "data",
    None,
    "Training records; default: those that the flagfiles name. With --scale=small: zip archive or folder of images, "
    "root/person/image.jpg, Omniglot's images_background.zip, CFP's folder, a folder with the datasets train and "
    "heldout, or 'synthetic' (the default) for rendered faces.",
)
_ROWS = flags.DEFINE_list("rows", [], "Rows of the table to run. Default: all.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Trainings of each row, with the seeds 0, 1, ...", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", None, "Training steps, in place of the table's.", lower_bound=1)
_TRAIN_FLAGS = flags.DEFINE_string(
    "train_flags", "", "Further flags of all trainings, such as '--micro_batches=4 --precision=mixed_bfloat16'."
)
_PARALLEL = flags.DEFINE_integer(
    "parallel", 1, "Trainings at once; each gets an equal share of the GPUs.", lower_bound=1
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the commands that would run, and run none.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for all files. Default: reproduction/TABLE, with -small if small."
)


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface.evaluation.reports.tables import align
    from tfface.jobs.reproduction import tables
    from tfface.jobs.reproduction.plan import Options, make_plan

    known = tables.read_tables(_PAPERS_FILE)
    if _LIST.value:
        header = ["table", "rows", "numbers", "flagfiles and what is compared"]
        print("\n".join("  ".join(row) for row in _columns([header, *map(_listed, known.values())])))
        return
    if not _TABLE.value:
        raise ValueError("--table is required, such as --table=sphereface2/3; --list shows all.")
    table = tables.find_table(known, _TABLE.value)
    small = "-small" if _SCALE.value == "small" else ""
    options = Options(
        data=_DATA.value,
        output=pathlib.Path(_OUTPUT.value or f"reproduction/{table.name}{small}"),
        scale=_SCALE.value,
        rows=_ROWS.value,
        seeds=_SEEDS.value,
        steps=_STEPS.value,
        train_flags=shlex.split(_TRAIN_FLAGS.value),
    )
    plan = make_plan(table, options)
    _print_substitutions(plan)
    if _DRY_RUN.value:
        for arguments in [*plan.prepare.values(), *(each for run in plan.runs for each in run.commands())]:
            print(f"tfface {shlex.join(arguments)}")
        return

    from tfface.jobs.reproduction import measured, report
    from tfface.jobs.reproduction.job import reproduce

    failed = reproduce(plan, _PARALLEL.value)
    found = measured.measure(plan)
    print(align(report.table_rows(plan, found)))
    print()
    print("\n".join([*report.order_lines(measured.orders(plan, found)), *report.state(plan, failed)]))
    print()
    print(f"page     {options.output / 'report.html'}")
    print(f"numbers  {options.output / 'results.csv'}, report.md")
    if failed:
        name, reason = next(iter(failed.items()))
        raise ValueError(f"{len(failed)} of {len(plan.runs)} runs failed, such as {name}: {reason}")


def _listed(table):
    numbers = sum(map(len, table.numbers.values()))
    files = list(dict.fromkeys(experiment.flagfile for experiment in table.experiments))
    return [table.name, str(len(table.experiments)), str(numbers), f"{', '.join(files)}: {table.about}"]


def _columns(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]] for row in rows]


def _print_substitutions(plan):
    """Prints what differs from the paper, as comments of the commands that may follow."""
    for what, paper, here in plan.substitutions:
        print(f"# {what}: {here} (the paper: {paper})")
    for row, other in plan.same.items():
        print(f"# {row} is the same training as {other}.")


if __name__ == "__main__":
    program.run(main)
