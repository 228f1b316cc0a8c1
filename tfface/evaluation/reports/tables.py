"""Results of a verification protocol, and their formats: text, JSON and CSV."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfface import csv_files, files, json_files
from tfface.evaluation.metrics.completeness import Completeness
from tfface.evaluation.metrics.directions import unit_rows
from tfface.evaluation.metrics.pairs import Pairs
from tfface.evaluation.metrics.protocol_result import ProtocolResult
from tfface.evaluation.metrics.verification import (
    area_under_curve,
    best_threshold,
    equal_error_rate,
    kfold_accuracy,
    roc,
    tar_at_far,
)
from tfface.evaluation.metrics.verification_result import VerificationResult, several
from tfface.json_files import COUNT, Either, Number, Optional

FARS = (1e-2, 1e-3, 1e-4)

_RATE = Number(0, 1, whole=False)
_MAYBE = Either(None, Number(-2, 2, whole=False))  # A cosine, with room for a threshold that accepts nothing.
_RESULT = {
    "name": str,
    "genuine_pairs": COUNT,
    "impostor_pairs": COUNT,
    "accuracy": {"mean": _RATE, "std": _RATE, ...: object},
    Optional("completeness"): Either(None, {"pairs": COUNT, "missing": COUNT, "examples": [str]}),
    "auc": _RATE,
    "eer": _RATE,
    "tar_at_far": [
        {
            "far": _RATE,
            "tar": Either(None, _RATE),
            "threshold": _MAYBE,
            "measured_far": Either(None, _RATE),
            ...: object,
        }
    ],
    # Files of release 0.1 have none.
    Optional("roc"): {"far": [_RATE], "tar": [_RATE], "threshold": [_MAYBE]},
    ...: object,
}
# Results of protocols that are more than pairs of images.
_PROTOCOL = {
    "name": str,
    "rates": {str: Either(None, _RATE)},
    "counts": {str: COUNT},
    "settings": {str: str},
    "completeness": [{"pairs": COUNT, "missing": COUNT, "examples": [str], Optional("noun"): str}],
    "curves": {str: {"kind": str, "x": [Number(whole=False)], "y": [_RATE]}},
}
_ANGLE = Either(None, Number(0, 180, whole=False))
_ANGLES = {"w_ec": _ANGLE, "w_inter": _ANGLE, "intra": _ANGLE, "inter": _ANGLE}
_PAIRS = ("protocol_pairs", "missing_pairs")
_MAX_ROC_POINTS = 10_000
_MAX_RESULTS_BYTES = 64 << 20


def verify(
    embeddings: np.ndarray,
    keys: Sequence[str],
    pairs: Pairs,
    name: str = "verification",
    fars: Iterable[float] = FARS,
) -> VerificationResult:
    """Compares the images of every pair by cosine similarity and measures the verification rates.

    Args:
      embeddings: float [N, D], one row per image, of any positive length (rows are normalised in float64).
      keys: str [N], distinct keys of the rows.
      pairs: pairs of at least two folds, such as `tfface.data.protocols.pair_lists.Pairs`.
      name: str, name of the result in reports.
      fars: FARs in (0, 1] at which to report the TAR.

    Returns:
      VerificationResult.

    Raises:
      ValueError: keys repeat or do not cover the pairs, shapes do not fit, a needed embedding is zero or not finite, or
        the pairs do not allow the measurement (a single fold, only one class).
    """
    scores = _cosine_similarities(np.asarray(embeddings), keys, pairs)
    genuine, impostor = scores[pairs.same], scores[~pairs.same]
    return VerificationResult(
        name=name,
        accuracy=kfold_accuracy(scores, pairs.same, pairs.fold),
        auc=area_under_curve(genuine, impostor),
        eer=equal_error_rate(genuine, impostor),
        tar_at_far=tar_at_far(genuine, impostor, fars),
        threshold=best_threshold(scores, pairs.same),
        genuine_scores=genuine,
        impostor_scores=impostor,
        completeness=getattr(pairs, "completeness", None),
    )


def to_table(results: VerificationResult | Iterable[VerificationResult]) -> str:
    """Formats results as a fixed-width text table, rates in percent.

    Args:
      results: VerificationResult, or several.

    Returns:
      str without a trailing newline; "n/a" marks a FAR that needs more impostor pairs, and a sentence names each
      protocol that lacks pairs.
    """
    results = several(results)
    return "\n".join([align(table_rows(results)), *incomplete(results)])


def incomplete(results: Iterable[VerificationResult]) -> list[str]:
    """Returns a sentence for each protocol that was measured only in part."""
    return [
        f"{result.name}: {result.completeness}; these numbers are not those of the whole protocol."
        for result in results
        if result.completeness and result.completeness.missing
    ]


def table_rows(results: VerificationResult | Iterable[VerificationResult]) -> list[list[str]]:
    """Makes the rows of `to_table`, lists of str, with the header first."""
    results = several(results)
    fars = sorted({far for result in results for far in result.tar_at_far}, reverse=True)
    rows = [
        ["protocol", "genuine", "impostor", "accuracy %", "AUC", "EER %", *(f"TAR % (FAR {far:g})" for far in fars)]
    ]
    for result in results:
        accuracy = f"{100 * result.accuracy.mean:.2f} ± {100 * result.accuracy.std:.2f}"
        counts = [str(len(result.genuine_scores)), str(len(result.impostor_scores))]
        tars = [_percent(result.tar_at_far[far].tar) if far in result.tar_at_far else "-" for far in fars]
        rows.append([result.name, *counts, accuracy, f"{result.auc:.4f}", _percent(result.eer), *tars])
    return rows


def align(rows: Sequence[Sequence[str]]) -> str:
    """Formats rows of str, the header first, as text: the first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(row) for row in aligned)


def to_json(
    results: VerificationResult | Iterable[VerificationResult],
    path: str | os.PathLike,
    context: Mapping[str, Any] | None = None,
    **sections: Any,
) -> None:
    """Writes results as JSON, without the scores; NaN and infinity become null.

    Args:
      results: VerificationResult, or several.
      path: file to write; a reader sees the old file or the whole new one.
      context: dict of JSON values that make the numbers traceable (checkpoint, flip mode, hash of the pairs' file).
      **sections: further JSON values by name, such as results of groups.

    Raises:
      ValueError: `context` or a section cannot be written as JSON.
    """
    document = {"context": context or {}, "results": [_plain(result) for result in several(results)], **sections}
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"`context` and sections must hold JSON values, got {context!r} ({error}).") from None
    files.write_atomically(path, (text + "\n").encode())


def read_results(path: str | os.PathLike, context: Any = object) -> dict[str, Any]:
    """Reads a file that `to_json` wrote.

    Args:
      path: path of the file.
      context: required form of the context (see `tfface.json_files`).

    Returns:
      dict of JSON values; the forms of `context`, `results`, `protocols` and `angles` are checked.

    Raises:
      ValueError: the file does not hold results; the message names the wrong field.
      OSError: the file cannot be read.
    """
    form = {
        "context": context,
        "results": [_RESULT],
        Optional("protocols"): [_PROTOCOL],
        Optional("angles"): Either(None, _ANGLES),
        ...: object,
    }
    return json_files.read(path, form, _MAX_RESULTS_BYTES)


def to_csv(
    results: VerificationResult | Iterable[VerificationResult],
    path: str | os.PathLike,
    others: Iterable[ProtocolResult] = (),
) -> None:
    """Writes results as CSV, one per line, with rates as fractions; a rate that cannot be measured is left empty.

    Args:
      results: VerificationResult, or several.
      path: file to write; a reader sees the old file or the whole new one.
      others: iterable of ProtocolResult; columns of their own hold their rates.
    """
    results = several(results)
    fars = sorted({far for result in results for far in result.tar_at_far}, reverse=True)
    names = ["name", "genuine_pairs", "impostor_pairs", "accuracy", "accuracy_std", "auc", "eer", "threshold", *_PAIRS]
    rows = []
    for result in results:
        counts = [len(result.genuine_scores), len(result.impostor_scores)]
        numbers = [
            result.accuracy.mean,
            result.accuracy.std,
            result.auc,
            result.eer,
            result.threshold,
            *_counts(result),
        ]
        numbers += [result.tar_at_far[far].tar if far in result.tar_at_far else math.nan for far in fars]
        rows.append([result.name, *counts, *(_cell(x) for x in numbers)])
    names += [f"tar_at_far_{far:g}" for far in fars]
    others = list(others)
    measures = list(dict.fromkeys(measure for result in others for measure in result.rates))
    rows = [row + [None] * len(measures) for row in rows]
    for other in others:
        rates = [_cell(other.rates.get(measure, math.nan)) for measure in measures]
        rows.append([other.name] + [None] * (len(names) - 1) + rates)
    csv_files.write_report(path, [*names, *measures], rows)


def _cosine_similarities(embeddings, keys, pairs):
    keys = list(keys)
    if embeddings.ndim != 2 or len(embeddings) != len(keys):
        raise ValueError(f"`embeddings` must be [{len(keys)}, D], one row per key, got {embeddings.shape}.")
    row_of = {key: row for row, key in enumerate(keys)}
    if len(row_of) < len(keys):
        repeated = next(key for row, key in enumerate(keys) if row_of[key] != row)
        raise ValueError(f"`keys` must be distinct, got {repeated!r} more than once.")
    needed, index = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    missing = [key for key in needed.tolist() if key not in row_of]
    if missing:
        raise ValueError(
            f"{len(missing)} images of the pairs have no embedding, among them {missing[0]!r}; "
            "`pairs.restrict(keys)` leaves their pairs out."
        )
    rows = embeddings[[row_of[key] for key in needed.tolist()]].astype(np.float64)
    unit = unit_rows(rows, "embeddings", needed)
    left, right = np.split(index, 2)
    scores = np.empty(len(pairs))
    # In blocks, because the gathered rows of a large protocol would need far more memory than the embeddings.
    for start in range(0, len(pairs), 4096):
        block = slice(start, start + 4096)
        scores[block] = np.einsum("pd,pd->p", unit[left[block]], unit[right[block]])
    return scores


def plain_completeness(completeness: Completeness) -> dict[str, Any]:
    """Returns completeness as JSON values; pairs, as release 0.1 knows them, need no noun."""
    values = {**completeness._asdict(), "examples": list(completeness.examples)}
    if completeness.noun == "pairs":
        del values["noun"]
    return values


def _plain(result):
    points = [{"far": far, **point._asdict()} for far, point in result.tar_at_far.items()]
    return {
        "name": result.name,
        "genuine_pairs": len(result.genuine_scores),
        "impostor_pairs": len(result.impostor_scores),
        "accuracy": {
            "mean": result.accuracy.mean,
            "std": result.accuracy.std,
            "per_fold": result.accuracy.per_fold.tolist(),
            "thresholds": [_finite(threshold) for threshold in result.accuracy.thresholds.tolist()],
        },
        "completeness": result.completeness and plain_completeness(result.completeness),
        "auc": result.auc,
        "eer": result.eer,
        "threshold": _finite(result.threshold),
        "tar_at_far": [{key: _finite(value) for key, value in point.items()} for point in points],
        "roc": _roc(result),
    }


def _roc(result):
    """Returns the points of the ROC with the smallest threshold of each FAR; of very many, more at low FARs."""
    points = roc(result.genuine_scores, result.impostor_scores)
    last = np.append(np.flatnonzero(np.diff(points.far)), len(points.far) - 1)
    if len(last) > _MAX_ROC_POINTS:
        last = last[np.unique(np.geomspace(1, len(last), _MAX_ROC_POINTS).astype(int)) - 1]
    return {
        "far": points.far[last].tolist(),
        "tar": points.tar[last].tolist(),
        "threshold": [_finite(threshold) for threshold in points.thresholds[last].tolist()],
    }


def _cell(number):
    return number if number is None or isinstance(number, int) else float(number) if math.isfinite(number) else None


def _counts(result):
    """Returns the values of the columns `_PAIRS`."""
    return [None, None] if result.completeness is None else [result.completeness.pairs, result.completeness.missing]


def _finite(number):
    return number if math.isfinite(number) else None


def _percent(rate):
    return "n/a" if math.isnan(rate) else f"{100 * rate:.2f}"
