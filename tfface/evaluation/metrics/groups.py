"""Verification by groups of images, such as age, pose or skin tone: which groups have higher error rates."""

import csv
import dataclasses
import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfface.evaluation.metrics.pairs import Pairs
from tfface.evaluation.metrics.verification_result import VerificationResult
from tfface.files import Unreadable, read_regular, short_reason

_MAX_BYTES = 256 << 20
_MAX_NUMBERS = 8  # A column with more distinct numbers is cut at its quartiles.
_UNKNOWN = "(unknown)"


@dataclasses.dataclass(frozen=True)
class GroupResult:
    """Error rates of the pairs of one group at the thresholds of the whole protocol.

    Attributes:
      name: value of the column; "A | B" for pairs of one image of A and one of B.
      genuine: int, number of genuine pairs.
      impostor: int, number of impostor pairs.
      refused: fraction of genuine pairs refused; NaN without genuine pairs.
      accepted: fraction of impostor pairs accepted; NaN without impostor pairs.
    """

    name: str
    genuine: int
    impostor: int
    refused: float
    accepted: float

    @property
    def accuracy(self) -> float:
        """Balanced accuracy, the mean of those on genuine and on impostor pairs; NaN if either kind is missing."""
        return 1 - (self.refused + self.accepted) / 2


@dataclasses.dataclass(frozen=True)
class GroupTable:
    """Results of all groups of one column.

    Attributes:
      column: str, name of the column.
      groups: list of GroupResult in the order of the values.
    """

    column: str
    groups: list[GroupResult]

    @property
    def worst(self) -> GroupResult | None:
        """The first group of the lowest accuracy; None unless two groups have both kinds of pairs."""
        measured = [group for group in self.groups if group.accuracy == group.accuracy]
        return min(measured, key=lambda group: group.accuracy) if len(measured) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the table as JSON values; NaN becomes None."""
        groups = [
            {name: None if value != value else value for name, value in dataclasses.asdict(group).items()}
            for group in self.groups
        ]
        return {"column": self.column, "worst": self.worst and self.worst.name, "groups": groups}


def group_results(result: VerificationResult, pairs: Pairs, column: str, values: Mapping[str, str]) -> GroupTable:
    """Judges every pair at the threshold of its fold, as the protocol's accuracy does, and counts errors by group.

    All groups share a threshold, as in deployment; a threshold per group would hide that one is refused more often.

    Args:
      result: VerificationResult of the pairs.
      pairs: the pairs of the protocol.
      column: str, name of the column that groups the images.
      values: dict from key to the value of the column, str; "" is unknown.

    Returns:
      GroupTable. If there are more than eight distinct values, all numbers, groups are quarters of the images by value.

    Raises:
      ValueError: the result belongs to other pairs, or an image of the pairs has no value.
    """
    if len(pairs) != len(result.genuine_scores) + len(result.impostor_scores):
        raise ValueError(f"the result does not belong to these {len(pairs)} pairs.")
    keys, index = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    missing = [key for key in keys.tolist() if key not in values]
    if missing:
        raise ValueError(
            f"column {column!r} has no row for {len(missing)} images of the pairs, such as {missing[0]!r}."
        )
    group_of_value, names = _divide(values.values())
    group_of_image = np.array([group_of_value[values[key]] for key in keys.tolist()])
    lower, upper = np.sort(group_of_image[index].reshape(2, -1), axis=0)

    scores = np.empty(len(pairs))
    scores[pairs.same], scores[~pairs.same] = result.genuine_scores, result.impostor_scores
    thresholds = result.accuracy.thresholds[np.unique(pairs.fold, return_inverse=True)[1]]
    wrong = (scores >= thresholds) != pairs.same

    groups = []
    for first, second in sorted(set(zip(lower.tolist(), upper.tolist(), strict=True))):
        within = (lower == first) & (upper == second)
        genuine, impostor = wrong[within & pairs.same], wrong[within & ~pairs.same]
        name = names[first] if first == second else f"{names[first]} | {names[second]}"
        groups.append(GroupResult(name, genuine.size, impostor.size, _mean(genuine), _mean(impostor)))
    return GroupTable(column, groups)


def read_groups(path: str | os.PathLike) -> dict[str, dict[str, str]]:
    """Reads a CSV file whose first column holds the keys of images and whose other columns group them.

    Args:
      path: CSV file in UTF-8, with a header.

    Returns:
      dict from column name to dict from key to value, all str.

    Raises:
      ValueError: the file has another form, a key repeats, or a row and the header differ in their number of cells.
      OSError: the file cannot be read.
    """
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8-sig")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=None), strict=True) if row] or [[]]
    except Unreadable:
        raise
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}: not a CSV file of groups ({short_reason(error)}).") from None
    if len(header) < 2 or len(set(header)) < len(header):
        raise ValueError(f"{path}: expected a header with a key and distinct column names, got {str(header)[:200]}.")
    tables = {column: {} for column in header[1:]}
    seen = set()
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{path}: expected {len(header)} cells in every row, got {str(row)[:200]}.")
        if row[0] in seen:
            raise ValueError(f"{path}: key {row[0][:200]!r} occurs more than once.")
        seen.add(row[0])
        for column, value in zip(header[1:], row[1:], strict=True):
            tables[column][row[0]] = value.strip()
    return tables


def _divide(values):
    """Returns the group of every value (dict to int), and the names of the groups in their order."""
    known = sorted({value for value in values if value})
    numeric = _are_numbers(known)
    if numeric:
        known.sort(key=float)
    names, group = known, {value: number for number, value in enumerate(known)}
    if numeric and len(known) > _MAX_NUMBERS:
        cuts = np.quantile([float(value) for value in values if value], (0.25, 0.5, 0.75))
        group = {value: int(np.searchsorted(cuts, float(value), "right")) for value in known}
        quarters = [[value for value in known if group[value] == quarter] for quarter in range(4)]
        names = [f"{quarter[0]} to {quarter[-1]}" if quarter else "" for quarter in quarters]
    return {**group, "": len(names)}, [*names, _UNKNOWN]


def _are_numbers(values):
    try:
        return bool(np.isfinite([float(value) for value in values]).all())
    except ValueError:
        return False


def _mean(wrong):
    return float(wrong.mean()) if wrong.size else float("nan")
