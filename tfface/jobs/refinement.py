"""Refinement of a dataset: proposals from its embeddings, a page for annotators, and the table of their decisions."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tfface import checks, csv_files, export, files, progress
from tfface.data.curation import refinement, refinement_cases, score_ratio
from tfface.data.curation.refinement_cases import KINDS, Case
from tfface.data.curation.refinement_page import write_refinement_page
from tfface.data.sources.records_source import RecordsSource
from tfface.jobs.embedding import embed_images
from tfface.jobs.thumbnails import read_thumbnails

CASES, PROPOSALS, DECIDED, PAGE, REPORT = "cases.json", "proposals.csv", "decided.csv", "index.html", "report.md"
_EXAMPLES = 4  # Images of an identity beside a case.
_EXCLUSIONS = ("identity", "key", "reason")
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class RefinedRecords:
    """The result of `refine_records`.

    Attributes:
      found: `Refinement`.
      cases: list of all `Case`s.
      changed: number of images that the proposals change.
      shown: number of cases on the page.
    """

    found: refinement.Refinement
    cases: Sequence[Case]
    changed: int
    shown: int


def write_folds(records: str | os.PathLike, output: str | os.PathLike, folds: int) -> list[pathlib.Path]:
    """Divides the identities of a dataset into folds, and writes what each model must not see.

    Args:
      records: directory of a dataset, or a glob of its shards.
      output: folder for fold-0.csv, fold-1.csv, ..., exclusion lists of `tfface records drop-low-shot`.
      folds: int >= 2.

    Returns:
      Their paths.

    Raises:
      ValueError: there are fewer identities than folds, or the records are damaged.
      OSError: a file cannot be read or written.
    """
    identities = sorted(set(_identities(records).values()))
    if not 2 <= folds <= len(identities):
        raise ValueError(f"the number of folds must be from 2 to {len(identities)}, the identities, got {folds}.")
    fold = _fold(len(identities), folds)
    paths = [pathlib.Path(output) / f"fold-{number}.csv" for number in range(folds)]
    for number, path in enumerate(paths):
        rows = [(name, "", f"fold {number}") for name, one in zip(identities, fold, strict=True) if one == number]
        csv_files.write_table(path, _EXCLUSIONS, rows)
    return paths


def refine_records(
    records: str | os.PathLike,
    output: str | os.PathLike,
    *,
    embeddings: Sequence[str | os.PathLike] = (),
    models: Sequence[str | os.PathLike] = (),
    error_rate: float = 0.05,
    sheets: int = 100,
    min_images: int = 3,
) -> RefinedRecords:
    """Proposes changes of a dataset and writes them, with a page of the cases that are hardest to decide.

    Args:
      records: directory of a dataset, or a glob of its shards.
      output: folder for cases.json, proposals.csv, report.md and index.html.
      embeddings: files of embeddings of all images. Several are by models of which each was trained without one of the
        `write_folds`, in their order.
      models: as for `embed_images`, in place of files; the embeddings are written to OUTPUT/embeddings-0.npz, ....
      error_rate: float in (0, 0.5), the highest probability of being wrong of a proposal that is applied.
      sheets: int, cases on the page.
      min_images: as for `refinement.refine`.

    Returns:
      `RefinedRecords`.

    Raises:
      ValueError: there are embeddings and models or neither, they are of other images, or a value is out of its range.
      OSError: a file cannot be read or written.
    """
    checks.check_range("the error rate", error_rate, 1e-6, 0.5)
    if bool(embeddings) == bool(models):
        raise ValueError("either embeddings or models are needed, not both.")
    output = pathlib.Path(output)
    identity_of = _identities(records)
    names, labels = np.unique(list(identity_of.values()), return_inverse=True)
    identities, keys = names.tolist(), list(identity_of)
    for number, model in enumerate(models):
        path = output / f"embeddings-{number}.npz"
        embed_images(model, records, path)
        embeddings = [*embeddings, path]
    vectors = [_aligned(path, keys, records) for path in embeddings]
    found = refinement.refine(
        vectors,
        labels,
        _fold(len(identities), len(vectors)),
        min_images=min_images,
        progress=progress.bar_of("compare"),
    )
    cases = refinement_cases.find_cases(found, keys, labels, identities, error_rate)
    rows = refinement_cases.decided_table(cases, identity_of, error_rate)
    shown = _hardest(cases, error_rate, sheets)
    examples = _examples(shown, found, keys, labels, identities)
    pictures = read_thumbnails(records, {key for some in examples for key in (*some[0], *some[1])}, side=96)
    refinement_cases.write_cases(output / CASES, cases, error_rate)
    refinement_cases.write_table(output / PROPOSALS, rows)
    files.write_atomically(output / REPORT, _report(records, found, cases, rows, identity_of, error_rate).encode())
    write_refinement_page(output / PAGE, str(records), shown, examples, pictures, len(cases))
    return RefinedRecords(found, cases, len(rows), len(shown))


def apply_decisions(
    records: str | os.PathLike, output: str | os.PathLike, decisions: str | os.PathLike
) -> tuple[int, int]:
    """Writes OUTPUT/decided.csv: the proposals of `refine_records`, except where a person decided otherwise.

    Args:
      records: the dataset that was refined.
      output: folder of `refine_records`.
      decisions: CSV file that the page saves, or one by hand.

    Returns:
      (number of decisions, number of images that change).

    Raises:
      ValueError: the folder is of another dataset, or the file of decisions is not valid; the message names the row.
      OSError: a file cannot be read or written.
    """
    path = pathlib.Path(output) / CASES
    if not path.is_file():
        raise ValueError(f"{path} is missing: refine the dataset into this folder first.")
    cases, error_rate = refinement_cases.read_cases(path)
    identity_of = _identities(records)
    known = {*identity_of, *identity_of.values()}
    if strange := [case.name for case in cases if case.name not in known]:
        raise ValueError(f"{path} is of another dataset: {records} has nothing called {strange[0][:200]!r}.")
    decided = refinement_cases.read_decisions(decisions, cases)
    rows = refinement_cases.decided_table(cases, identity_of, error_rate, decided)
    refinement_cases.write_table(pathlib.Path(output) / DECIDED, rows)
    return len(decided), len(rows)


def _identities(records) -> dict[str, str]:
    """Reads the identity of every key of a dataset."""
    source = RecordsSource(records)
    found = {item.key: item.identity for item in source.items()}
    if source.skipped:
        place, reason = source.skipped[0]
        raise ValueError(f"{records}: {len(source.skipped)} records are damaged, the first at {place}: {reason}.")
    return found


def _fold(count, folds):
    """Returns the fold of every identity in the order of the names; a fixed permutation, so that files agree."""
    return np.random.default_rng(0).permutation(count) % folds


def _aligned(path, keys, records):
    """Returns the vectors of a file of embeddings in the order of the keys."""
    found = export.load_embeddings(path)
    row = {key: number for number, key in enumerate(found.keys)}
    if missing := [key for key in keys if key not in row]:
        raise ValueError(
            f"{path} holds embeddings of other images: it lacks {len(missing)} of the {len(keys)} of {records}, "
            f"such as {', '.join(map(repr, missing[:_NAMED]))}."
        )
    return found.vectors[[row[key] for key in keys]]


def _hardest(cases, error_rate, count):
    """Returns the cases nearest to the error rate, by turns of all kinds, in the order of the list."""
    ranked = {
        kind: sorted((abs(case.error - error_rate), number) for number, case in enumerate(cases) if case.kind == kind)
        for kind in KINDS
    }
    turns = sorted((turn, KINDS.index(kind), number) for kind in KINDS for turn, (_, number) in enumerate(ranked[kind]))
    return [cases[number] for number in sorted(number for *_, number in turns[:count])]


def _examples(cases, found, keys, labels, identities):
    """Returns (keys of the images in question, keys of images of the proposed identity) of every case."""
    number = {name: position for position, name in enumerate(identities)}
    place = {key: position for position, key in enumerate(keys)}
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(identities) + 1))

    def some(identity):
        """The images that resemble their centre most."""
        rows = order[starts[identity] : starts[identity + 1]]
        rows = rows[
            np.argsort(-np.nan_to_num(found.own[rows] + 1e-3 * np.nan_to_num(found.score[rows])), kind="stable")
        ]
        return [keys[row] for row in rows[:_EXAMPLES]]

    chosen = []
    for case in cases:
        if case.kind in ("outlier", "moved"):
            label = int(labels[place[case.name]])
            own = [key for key in some(label) if key != case.name]
            other = some(number[case.proposal]) if case.kind == "moved" else []
            chosen.append(([case.name, *own], other))
        elif case.kind == "second":
            chosen.append((some(number[case.name]), list(case.images[:_EXAMPLES])))
        else:
            chosen.append((some(number[case.name]), some(number[case.proposal])))
    return chosen


_EXPLAINED: Mapping[str, str] = {
    "outlier": "images that are not their identity: dropped",
    "moved": "images that belong to another identity: moved",
    "second": "identities that are two people: divided",
    "same": "pairs of identities that are one: joined",
}


def _report(records, found, cases, rows, identity_of, error_rate):
    lines = [f"# Refinement of {records}", ""]
    lines += [f"{len(identity_of):,} images of {len(set(identity_of.values())):,} identities.", ""]
    lines += ["| estimated to show | images |", "|---|---|"]
    texts = {
        "own": "their label",
        "second": "a second person under it",
        "others": "another identity",
        "nobody": "nobody in the dataset",
    }
    lines += [f"| {texts[name]} | {share:.2%} |" for name, share in found.shares.items()]
    lines += ["", f"| proposals | wrong with at most {error_rate:g}: applied | left to people |", "|---|---|---|"]
    for kind, text in _EXPLAINED.items():
        errors = [case.error for case in cases if case.kind == kind]
        sure = sum(error <= error_rate for error in errors)
        lines.append(f"| {text} | {sure:,} | {len(errors) - sure:,} |")
    expected = sum(case.error for case in cases if case.error <= error_rate)
    dropped = sum(not row[1] for row in rows)
    after = dict(identity_of) | {row[0]: row[1] for row in rows}
    lines += [
        "",
        f"Expected among those that are applied: {expected:.1f} wrong ones.",
        f"`{PROPOSALS}` changes {len(rows):,} images, {dropped:,} of them are dropped; "
        f"{len(set(after.values()) - {''}):,} identities are left.",
        "",
        f"At a cosine of {_even(found.ratio):.3f} to a centre, genuine and impostor scores are equally dense. "
        f"The centres were computed {found.rounds} times.",
        "",
    ]
    return "\n".join(lines)


def _even(ratio):
    return float(np.argmax(ratio >= 1)) / (score_ratio.BINS / 2) - 1
