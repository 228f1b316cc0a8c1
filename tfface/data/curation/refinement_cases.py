"""Proposals to change a dataset as cases, what people decide on them, and the table that `relabel` applies."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfface import csv_files, files, json_files
from tfface.data.curation.refinement import Refinement
from tfface.data.formats.text_lists import is_name, read_csv

# Drop an image, move an image to another identity, make two identities of one, and one of two.
KINDS = ("outlier", "moved", "second", "same")
DECISIONS = ("accept", "keep", "move", "drop")
DECISION_COLUMNS = ("kind", "name", "decision", "new_identity")
_TABLE = ("key", "new_identity", "old_identity", "kind", "error")


class Case(NamedTuple):
    """One proposal.

    Attributes:
      kind: "outlier" or "moved": an image; "second": the images of a second person under an identity; "same": all
        images of an identity.
      name: the key of the image, or the identity.
      identity: the label that the images have.
      proposal: the new identity; "": the image is dropped.
      error: the probability that the proposal is wrong.
      images: keys of the images that it changes; empty for "same".
    """

    kind: str
    name: str
    identity: str
    proposal: str
    error: float
    images: tuple[str, ...]


_FORM = {
    "error_rate": float,
    "cases": [{"kind": str, "name": str, "identity": str, "proposal": str, "error": float, "images": [str]}],
}


def find_cases(
    found: Refinement, keys: Sequence[str], labels: np.ndarray, identities: Sequence[str], error_rate: float
) -> list[Case]:
    """Lists all proposals that are wrong with a probability of at most 1 - `error_rate`.

    Args:
      found: `Refinement`.
      keys: N keys of the images.
      labels: int [N].
      identities: K names.
      error_rate: float.

    Returns:
      List of `Case`s, by kind and rising error.
    """
    sizes = np.bincount(labels, minlength=len(identities))
    cases = []
    split = found.two >= error_rate
    stays = found.own + np.where(split[labels], 0, found.second)
    taken = set(identities)
    for identity in np.flatnonzero(split).tolist():
        images = np.flatnonzero((labels == identity) & (found.second >= 0.5))
        if len(images):
            proposal = _new_name(identities[identity], taken)
            cases.append(
                _case(
                    "second",
                    identities[identity],
                    identities[identity],
                    proposal,
                    1 - found.two[identity],
                    keys,
                    images,
                )
            )
    # An image of a second person is no case of its own.
    for row in np.flatnonzero((1 - stays >= error_rate) & ~(split[labels] & (found.second >= 0.5))).tolist():
        stay, moved = stays[row], found.moved[row]
        # With neither sure, the more probable of the two is proposed.
        name, identity = keys[row], identities[labels[row]]
        if 1 - moved <= error_rate or (stay > error_rate and moved > 1 - stay - moved):
            cases.append(_case("moved", name, identity, identities[found.other[row]], 1 - moved, keys, [row]))
        else:
            cases.append(_case("outlier", name, identity, "", stay, keys, [row]))
    # The surest pairs first; each identity becomes another one at most once.
    root = list(range(len(identities)))
    for pair in np.argsort(-found.same, kind="stable"):
        if found.same[pair] < error_rate:
            break
        one, other = (_find(root, identity) for identity in found.pairs[pair].tolist())
        if one != other:
            kept, renamed = sorted((one, other), key=lambda identity: (-sizes[identity], identities[identity]))
            cases.append(
                Case(
                    "same", identities[renamed], identities[renamed], identities[kept], float(1 - found.same[pair]), ()
                )
            )
            root[renamed] = kept
    return sorted(cases, key=lambda case: (KINDS.index(case.kind), case.error, case.name))


def decided_table(
    cases: Sequence[Case],
    identity_of: Mapping[str, str],
    error_rate: float,
    decisions: Mapping[tuple[str, str], str | None] | None = None,
) -> list[tuple[str, str, str, str, float]]:
    """Makes the table of all images that change.

    Args:
      cases: list of `Case`s.
      identity_of: dict from every key to its identity.
      error_rate: float; cases without a decision are accepted if their error is not above it.
      decisions: dict from (kind, name) to the new identity, "" to drop, None to change nothing.

    Returns:
      Rows (key, new identity, old identity, kind, error), one per image, by key. An image moves first and
      then follows its new identity; its row has the kind of the first change and the larger error.
    """
    decisions = decisions or {}
    images: dict[str, tuple[str, str, float]] = {}
    renamed: dict[str, tuple[str, float]] = {}
    for case in cases:
        target = case.proposal if case.error <= error_rate else None
        target = decisions.get((case.kind, case.name), target)
        if target is None:
            continue
        if case.kind == "same":
            renamed[case.name] = target, case.error
        else:
            images.update((key, (target, case.kind, case.error)) for key in case.images)
    rows = []
    for key, old in identity_of.items():
        new, kind, error = images.get(key, (old, "", 0.0))
        met = {""}
        while new in renamed and new not in met:  # A person may have decided in a circle.
            met.add(new)
            new, worse = renamed[new]
            kind, error = kind or "same", max(error, worse)
        if new != old:
            rows.append((key, new, old, kind, error))
    return sorted(rows)


def write_table(path: str | os.PathLike, rows: Sequence[tuple[str, str, str, str, float]]) -> None:
    """Writes rows of `decided_table` as a CSV file that `tfface.data.curation.cleaning.relabel` applies."""
    csv_files.write_table(path, _TABLE, ((*row[:4], f"{row[4]:.4f}") for row in rows))


def write_cases(path: str | os.PathLike, cases: Sequence[Case], error_rate: float) -> None:
    """Writes cases into a JSON file, which `read_cases` reads again when decisions are applied."""
    listed = [{**case._asdict(), "images": list(case.images)} for case in cases]
    text = json.dumps({"error_rate": error_rate, "cases": listed}, indent=0)
    files.write_atomically(path, text.encode())


def read_cases(path: str | os.PathLike) -> tuple[list[Case], float]:
    """Reads (cases, error rate) from a file of `write_cases`.

    Raises:
      ValueError: the file holds anything else.
      OSError: it cannot be read.
    """
    found = json_files.read(path, _FORM)
    return [Case(**{**one, "images": tuple(one["images"])}) for one in found["cases"]], found["error_rate"]


def read_decisions(path: str | os.PathLike, cases: Sequence[Case]) -> dict[tuple[str, str], str | None]:
    """Reads what a person decided on the page, or in a table written by hand.

    Args:
      path: CSV file with the columns kind,name,decision,new_identity.
      cases: the cases that may be decided.

    Returns:
      dict from (kind, name) to the new identity, "" to drop, None to change nothing.

    Raises:
      ValueError: the file is not such a table, or decides something twice, or that is not a case.
      OSError: it cannot be read.
    """
    rows = read_csv(path)
    header = next(rows, ())
    if missing := [name for name in DECISION_COLUMNS if name not in header]:
        raise ValueError(f"{path}: column {missing[0]!r} is missing; it has {', '.join(header)[:200]}.")
    proposals = {(case.kind, case.name): case.proposal for case in cases}
    decided: dict[tuple[str, str], str | None] = {}
    for number, row in enumerate(rows, start=2):
        kind, name, decision, target = (row[header.index(column)] for column in DECISION_COLUMNS)
        place, case = f"{path}, row {number}", (kind, name)
        if decision not in DECISIONS:
            raise ValueError(f"{place}: a decision is {', '.join(DECISIONS[:-1])} or drop, got {decision[:200]!r}.")
        if case not in proposals:
            raise ValueError(f"{place}: there is no case {kind[:50]!r} of {name[:200]!r}; is it of another refinement?")
        if case in decided:
            raise ValueError(f"{place}: the case {kind!r} of {name[:200]!r} is decided twice.")
        if decision == "move" and not is_name(target):
            raise ValueError(f"{place}: to move needs a new identity, got {target[:200]!r}.")
        decided[case] = {"accept": proposals[case], "keep": None, "move": target, "drop": ""}[decision]
    return decided


def _case(kind, name, identity, proposal, error, keys, rows):
    return Case(kind, name, identity, proposal, float(error), tuple(keys[row] for row in rows))


def _new_name(name, taken):
    number = 2
    while (new := f"{name}_{number}") in taken:
        number += 1
    taken.add(new)
    return new


def _find(root, identity):
    while root[identity] != identity:
        identity = root[identity]
    return identity
