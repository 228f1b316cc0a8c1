"""The tables of the papers: the trainings that they compare, the papers' numbers, and how these are measured."""

import dataclasses
import difflib
import os

from tfface import flagfiles
from tfface.evaluation.reports.paper_numbers import read_paper_numbers
from tfface.jobs.reproduction.experiments import Experiment, protocols_in, read_experiments, title

# Flagfiles of evaluation, and the first words of the measures that they give. The first that gives one is taken.
_EVALUATIONS = {
    "protocols/combined.flags": ("Combined", "LFW", "AgeDB-30", "CALFW", "CPLFW"),
    "protocols/pairs.flags": ("LFW", "CFP-FP", "AgeDB-30", "CALFW", "CPLFW"),
    "protocols/ytf.flags": ("YTF",),
    "protocols/ijb.flags": ("IJB-B", "IJB-C"),
    "protocols/megaface.flags": ("MegaFace",),
    "protocols/trillion_pairs.flags": ("Trillion-Pairs",),
    "protocols/sop.flags": ("SOP",),
    "protocols/in_shop.flags": ("In-Shop",),
}
_COMBINED = "protocols/combined.flags"
# Numbers that are no result of a training.
UNMEASURED = ("iQIYI-VID MAP@100", "GFLOPs", "loss time (s)", "total time (s)")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes:
      name: such as "sphereface2/3".
      paper: such as "SphereFace2".
      label: such as "Table 3" or "Figure 10".
      about: what it compares.
      experiments: list of `Experiment`, in the paper's order.
      numbers: dict from the key of an experiment to {measure: the paper's number}; empty if it prints none.
    """

    name: str
    paper: str
    label: str
    about: str
    experiments: list[Experiment]
    numbers: dict[str, dict[str, float]]

    @property
    def measures(self) -> list[str]:
        """The paper's measures, in its order."""
        return list(dict.fromkeys(measure for values in self.numbers.values() for measure in values))


def read_tables(papers: str | os.PathLike) -> dict[str, Table]:
    """Reads the tables that can be rerun, by name.

    Args:
      papers: file of the papers' numbers, whose column `experiment` names their trainings.

    Returns:
      dict from name to `Table`: those with numbers, then flagfiles of which the papers print none.

    Raises:
      ValueError: the file is not one of numbers, or names a training that there is not.
      OSError: the file cannot be read.
    """
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for number in read_paper_numbers(papers):
        if number.experiment:
            of_table = found.setdefault((number.paper, number.table), {})
            # A row of BroadFace's Table 6a stands there twice, with the same numbers.
            of_table.setdefault(number.experiment, {})[number.measure] = float(number.value)
    files = [name for name in flagfiles.packaged() if "/" in name and not name.startswith("protocols/")]
    known = {name: read_experiments(name) for name in files if not name.endswith("/base.flags")}
    by_key = {experiment.key: experiment for experiments in known.values() for experiment in experiments}
    tables = []
    for (paper, label), numbers in found.items():
        if strangers := numbers.keys() - by_key.keys():
            raise ValueError(f"{papers}: no flagfile lists the training {sorted(strangers)[0]!r}.")
        experiments = [by_key[key] for key in numbers]
        name = f"{paper.replace('-', '').lower()}/{label}"
        tables.append(Table(name, paper, f"Table {label}", title(experiments[0].flagfile), experiments, numbers))
    with_numbers = {experiment.flagfile for table in tables for experiment in table.experiments}
    papers_of = {table.name.partition("/")[0]: table.paper for table in tables}
    for name in known.keys() - with_numbers:
        folder, _, file = name.removesuffix(".flags").partition("/")
        tables.append(Table(f"{folder}/{file}", papers_of[folder], _label(file), title(name), known[name], {}))
    return {table.name: table for table in sorted(tables, key=lambda table: _order(table.name))}


def find_table(tables: dict[str, Table], name: str) -> Table:
    """Returns a table by its name; "arcface/table2" is "arcface/2".

    Raises:
      ValueError: there is none of this name; the message has the right ones.
    """
    spelled = name.strip().lower().removesuffix(".flags").replace("/table", "/")
    if spelled not in tables:
        near = difflib.get_close_matches(spelled, tables, 3, 0.6)
        advice = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"there is no table {name!r}: {advice}The tables are {', '.join(tables)}.")
    return tables[spelled]


def evaluations(table: Table, experiment: Experiment, train_data: str) -> dict[str, list[str]]:
    """Returns the arguments of `tfface evaluate` that measure what the paper did, without model and output.

    Args:
      table: `Table`.
      experiment: one of its own.
      train_data: its training data, on which some angles are measured.

    Returns:
      dict from a name to a list of arguments.
    """
    measures = [measure for measure in table.numbers.get(experiment.key, ()) if measure not in UNMEASURED]
    if not table.numbers:
        return {_stem(file): [f"--flagfile={file}"] for file in protocols_in(experiment.flagfile)}
    found = {}
    if angles := [measure for measure in measures if measure.endswith("(degrees)")]:
        measures = [measure for measure in measures if measure not in angles]
        of_lfw = [measure for measure in angles if measure.startswith("LFW")]
        if len(of_lfw) < len(angles):
            found["training-angles"] = [f"--data={train_data}"]
        if of_lfw:
            found["lfw-angles"] = ["--data=lfw_112", "--protocol=pairs.txt"]
    sets = {measure.split()[0] for measure in measures}
    for file, given in _EVALUATIONS.items():
        # Its four sets are among the pairs of other tables, which ask for no number of them together.
        if sets & set(given) and (file != _COMBINED or "Combined" in sets):
            found[_stem(file)] = [f"--flagfile={file}"]
            sets -= set(given)
    return found


def _label(file):
    return f"Figure {file.removeprefix('figure')}" if file.startswith("figure") else file


def _stem(file):
    return file.rpartition("/")[2].removesuffix(".flags")


def _order(name):
    """Sorts tables by paper, then by number; figures come last."""
    paper, _, number = name.partition("/")
    digits = number.rstrip("ab")
    return paper, (0, int(digits), number) if digits.isdigit() else (1, 0, number)
