"""Reproduces a table of a paper: prepares data, runs what is left of the trainings, and writes the page."""

import json
import pathlib
import shlex
from collections.abc import Mapping

from tfface import files, interrupts, json_files, ownership, progress
from tfface.jobs.reproduction import measured, processes, report
from tfface.jobs.reproduction.plan import Plan, check_inputs

_IDENTITY = "reproduction.json"


def reproduce(plan: Plan, parallel: int = 1) -> Mapping[str, str]:
    """Runs what is left of a plan and writes the report after each run; the same call continues.

    Args:
      plan: `Plan`.
      parallel: int, runs at once.

    Returns:
      dict from the name of each run that failed to the reason.

    Raises:
      ValueError: the folder holds another reproduction or is in use, data are missing, or they cannot be prepared.
      OSError: a file cannot be read or written.
    """
    output = plan.options.output
    with (
        ownership.owned(output, name=".reproduction.owner"),
        interrupts.remedy("the same command continues."),
    ):
        check_inputs(plan)
        _check_identity(plan, output / _IDENTITY)
        for made, arguments in plan.prepare.items():
            if made.is_file():
                continue
            progress.note(f"prepare: tfface {shlex.join(arguments)}")
            if reason := processes.run_command(arguments, output / "logs" / "prepare.txt"):
                raise ValueError(f"the data cannot be prepared: {reason}")
        failed = processes.run_all(plan.runs, output / "logs", parallel, lambda: _report(plan, {}))
        _report(plan, failed)
    return failed


def _report(plan, failed):
    report.write_report(plan, measured.measure(plan), failed)


def _check_identity(plan: Plan, path: pathlib.Path) -> None:
    """Refuses a folder of another reproduction: its rows would be compared with rows of other data or settings."""
    options = plan.options
    now = {
        "table": plan.table.name,
        "scale": options.scale,
        "data": plan.data or _content(plan),
        "steps": str(options.steps),
        "train_flags": shlex.join(options.train_flags),
    }
    if path.is_file():
        then = json_files.read(path, dict.fromkeys(now, str))
        changed = [
            f"{name} (was {_short(then[name])}, now {_short(now[name])})" for name in now if then[name] != now[name]
        ]
        if changed:
            raise ValueError(
                f"{options.output} holds another reproduction; changed: {'; '.join(changed)}. Choose another --output."
            )
    files.write_atomically(path, json.dumps(now, indent=2).encode())


def _content(plan):
    """Hashes the training data of the paper's scale, so that its path does not matter."""
    from tfface.data.dataset_content import content_sha256

    paths = sorted({run.settings.train_data for run in plan.runs})
    return " ".join(map(content_sha256, paths))


def _short(text):
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
