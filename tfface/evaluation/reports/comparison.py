"""A table of the numbers of several runs and of papers."""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from tfface.evaluation.reports.paper_numbers import read_paper_numbers
from tfface.evaluation.reports.tables import read_results

# File names of protocols, and their names in papers.
_DATASETS = {
    "FF": "CFP-FF",
    "FP": "CFP-FP",
    "agedb_30": "AgeDB-30",
    "calfw": "CALFW",
    "cfp_ff": "CFP-FF",
    "cfp_fp": "CFP-FP",
    "cplfw": "CPLFW",
    "lfw": "LFW",
    "lfw_pairs": "LFW",
    "pairs": "LFW",
    "splits": "YTF",
}


class Numbers(NamedTuple):
    """Numbers of one run, or of one line of a paper's table.

    Attributes:
      name: str, name of the run, or method and source of the paper's line.
      values: dict from measure, such as "LFW accuracy" or "IJB-C TAR@1e-4", to its text: in percent, unless the measure
        names its unit, as "W-EC (degrees)" does.
      incomplete: what is missing of each protocol that was measured in part, such as "LFW: 600 of 6000 pairs".
    """

    name: str
    values: dict[str, str]
    incomplete: tuple[str, ...] = ()


def read_run(path: str | os.PathLike) -> Numbers:
    """Reads the numbers of a run or an evaluation.

    Args:
      path: a `results.json`, or the folder that holds it.

    Returns:
      Numbers; the number of pairs follows each accuracy ("5400 of 6000 pairs" if some are missing), and
      "n/a" marks a FAR that could not be measured. Angles are those of all labelled images of the run or evaluation.

    Raises:
      ValueError: the file does not hold results.
      OSError: the file cannot be read.
    """
    path = pathlib.Path(path)
    file = path / "results.json" if path.is_dir() else path
    values, incomplete = {}, []
    document = read_results(file)
    for result in document["results"]:
        dataset = _dataset(result["name"], document["context"])
        if f"{dataset} accuracy" in values:  # One run may have the official list and a .bin file of it.
            dataset = result["name"]
        accuracy, pairs = result["accuracy"], result["genuine_pairs"] + result["impostor_pairs"]
        completeness = result.get("completeness")
        whole = ""
        if completeness and completeness["missing"]:
            whole = f" of {completeness['pairs']}"
            incomplete.append(f"{dataset}: {completeness['missing']} of {completeness['pairs']} pairs")
        values[f"{dataset} accuracy"] = f"{100 * accuracy['mean']:.2f} ({pairs}{whole} pairs)"
        for point in result["tar_at_far"]:
            measure = f"{dataset} TAR@{point['far']:.0e}".replace("e-0", "e-")
            values[measure] = "n/a" if point["tar"] is None else f"{100 * point['tar']:.2f}"
    for result in document.get("protocols", ()):
        incomplete += [
            f"{result['name']}: {each['missing']} of {each['pairs']} {each.get('noun', 'pairs')}"
            for each in result["completeness"]
            if each["missing"]
        ]
        for measure, rate in result["rates"].items():
            whole = "".join(
                f" ({each['pairs'] - each['missing']} of {each['pairs']} {each.get('noun', 'pairs')})"
                for each in result["completeness"]
                if each["missing"]
            )
            values[f"{result['name']} {measure}"] = "n/a" if rate is None else f"{100 * rate:.2f}{whole}"
    if document.get("angles"):
        datasets = [_dataset(result["name"], document["context"]) for result in document["results"]]
        values |= _angles(document["angles"], datasets)
    return Numbers(str(path), values, tuple(incomplete))


def _dataset(name, context):
    """Returns the name that papers give to the dataset of a result."""
    lists = context.get("protocol") if isinstance(context, dict) else None
    # LFW's own list is pairs.txt; a pairs.csv is that of any .bin file.
    if (
        name == "pairs"
        and isinstance(lists, dict)
        and any(pathlib.PurePath(path).name == "pairs.csv" for path in lists)
    ):
        return name
    return _DATASETS.get(name, name)


def _angles(angles, datasets):
    """Returns the measures of ArcFace's Table 3, whose Intra1 and Inter1 are of training images, Intra2 of LFW's."""
    # Angles to class weights are measured only on the images that a run was trained with.
    images = "training " if angles["w_ec"] is not None else f"{datasets[0]} " if len(datasets) == 1 else ""
    names = {"w_ec": "W-EC", "w_inter": "W-Inter", "intra": f"{images}Intra", "inter": f"{images}Inter"}
    return {f"{name} (degrees)": f"{angles[key]:.2f}" for key, name in names.items() if angles[key] is not None}


def read_papers(path: str | os.PathLike) -> list[Numbers]:
    """Reads the numbers of papers; arguments and errors as for `read_paper_numbers`.

    Returns:
      list of Numbers, one per line of a paper's table.
    """
    found: dict[str, dict[str, str]] = {}
    for number in read_paper_numbers(path):
        name = f"{number.method} [{number.paper}, Table {number.table}: {number.training}]"
        found.setdefault(name, {})[number.measure] = number.value
    return [Numbers(name, values) for name, values in found.items()]


def compare(runs: Sequence[Numbers], papers: Sequence[Numbers] = ()) -> list[list[str]]:
    """Makes a table of numbers: a row per run or paper, a column per measure that any run has.

    Args:
      runs: list of Numbers, at least one.
      papers: list of Numbers; papers that share no measure with the runs are left out.

    Returns:
      list of lists of str, the header first; "-" marks a missing number.

    Raises:
      ValueError: there are no runs.
    """
    if not runs:
        raise ValueError("a comparison needs at least one run, got none.")
    measured = (measure for run in runs for measure, value in run.values.items() if value != "n/a")
    measures = list(dict.fromkeys(measured))
    chosen = [*runs, *(paper for paper in papers if paper.values.keys() & set(measures))]
    rows = [[one.name, *(one.values.get(measure, "-") for measure in measures)] for one in chosen]
    return [["", *measures], *rows]
