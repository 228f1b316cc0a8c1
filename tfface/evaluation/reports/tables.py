"""From embeddings and a protocol's pairs to numbers on paper."""

import dataclasses
import json
import math

import numpy as np

from tfface import csv_files, files, json_files
from tfface.evaluation.metrics.verification import (
    FoldAccuracy,
    area_under_curve,
    best_threshold,
    equal_error_rate,
    kfold_accuracy,
    tar_at_far,
)
from tfface.json_files import COUNT, Either, Number

FARS = (1e-2, 1e-3, 1e-4)

_RATE = Number(0, 1, whole=False)
_MAYBE = Either(None, Number(-2, 2, whole=False))  # A cosine, and room for the threshold that accepts nothing.
_RESULT = {
    "name": str,
    "genuine_pairs": COUNT,
    "impostor_pairs": COUNT,
    "accuracy": {"mean": _RATE, "std": _RATE, ...: object},
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
    ...: object,
}
_MAX_RESULTS_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class VerificationResult:
    """What a verification protocol says about a set of embeddings.

    Attributes:
      name: name of the protocol or model, for tables and plots.
      accuracy: FoldAccuracy, the cross-validated accuracy.
      auc: area under the ROC, float.
      eer: equal error rate, float.
      tar_at_far: dict from FAR to OperatingPoint.
      threshold: the threshold with the most correct decisions over all pairs, for use on new images; `accuracy` is
        measured with each fold's own instead.
      genuine_scores: float64 [G], cosine similarities of the genuine pairs, in the protocol's order.
      impostor_scores: float64 [I], those of the impostor pairs.
    """

    name: str
    accuracy: FoldAccuracy
    auc: float
    eer: float
    tar_at_far: dict
    threshold: float
    genuine_scores: np.ndarray
    impostor_scores: np.ndarray


def verify(embeddings, keys, pairs, name="verification", fars=FARS):
    """Compares the images of every pair by cosine similarity and measures how well genuine pairs are told apart.

    Args:
      embeddings: float [N, D], one row per image, of any positive length (rows are normalised in float64).
      keys: str [N], the different keys of the rows.
      pairs: tfface.data.protocols.pair_lists.Pairs of at least two folds.
      name: name under which the result is reported.
      fars: FARs in (0, 1] at which the TAR is reported.

    Returns:
      VerificationResult.

    Raises:
      ValueError: if keys repeat or do not cover the pairs, shapes do not fit, an embedding that is needed is zero or
        not finite, or the pairs do not allow the measurement (a single fold, only one class).
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
    )


def to_table(results):
    """Formats results as a fixed-width text table, rates in percent.

    Args:
      results: iterable of VerificationResult.

    Returns:
      The table, str without a trailing newline; "n/a" marks a FAR that the impostor pairs are too few to measure.
    """
    return align(table_rows(results))


def table_rows(results):
    """Makes the rows of `to_table`, lists of str; the first is the header."""
    results = list(results)
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


def align(rows):
    """Formats rows of str, the first a header, as text: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(row) for row in aligned)


def to_json(results, path, context=None, **sections):
    """Writes results as JSON, without the scores; NaN and infinity in them become null.

    Args:
      results: iterable of VerificationResult.
      path: file to write; a reader sees the old file or the whole new one.
      context: dict of JSON values that make the numbers traceable (checkpoint, flip mode, hash of the pairs' file).
      **sections: further JSON values, by name, such as results of groups.

    Raises:
      ValueError: if `context` or a section cannot be written as JSON.
    """
    document = {"context": context or {}, "results": [_plain(result) for result in results], **sections}
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"`context` and sections must hold JSON values, got {context!r} ({error}).") from None
    files.write_atomically(path, (text + "\n").encode())


def read_results(path, context=object):
    """Reads what `to_json` wrote.

    Args:
      path: of the file.
      context: form (see `tfface.json_files`) that the context must have.

    Returns:
      dict of JSON values, of which `context` and `results` are checked.

    Raises:
      ValueError: if the file does not hold results; the message names the place in it.
      OSError: if it cannot be read.
    """
    return json_files.read(path, {"context": context, "results": [_RESULT], ...: object}, _MAX_RESULTS_BYTES)


def to_csv(results, path):
    """Writes results as CSV, a line each, rates as fractions; a FAR that cannot be measured is left empty.

    Args:
      results: iterable of VerificationResult.
      path: file to write; a reader sees the old file or the whole new one.
    """
    results = list(results)
    fars = sorted({far for result in results for far in result.tar_at_far}, reverse=True)
    names = ["name", "genuine_pairs", "impostor_pairs", "accuracy", "accuracy_std", "auc", "eer", "threshold"]
    rows = []
    for result in results:
        counts = [len(result.genuine_scores), len(result.impostor_scores)]
        numbers = [result.accuracy.mean, result.accuracy.std, result.auc, result.eer, result.threshold]
        numbers += [result.tar_at_far[far].tar if far in result.tar_at_far else math.nan for far in fars]
        rows.append([result.name, *counts, *(float(x) if math.isfinite(x) else None for x in numbers)])
    csv_files.write_report(path, [*names, *(f"tar_at_far_{far:g}" for far in fars)], rows)


def _cosine_similarities(embeddings, keys, pairs):
    keys = list(keys)
    if embeddings.ndim != 2 or len(embeddings) != len(keys):
        raise ValueError(f"`embeddings` must be [{len(keys)}, D], a row for every key, got {embeddings.shape}.")
    row_of = {key: row for row, key in enumerate(keys)}
    if len(row_of) < len(keys):
        repeated = next(key for row, key in enumerate(keys) if row_of[key] != row)
        raise ValueError(f"`keys` must be different, got {repeated!r} more than once.")
    needed, place = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    missing = [key for key in needed.tolist() if key not in row_of]
    if missing:
        raise ValueError(
            f"{len(missing)} images of the pairs have no embedding, among them {missing[0]!r}; "
            "`pairs.restrict(keys)` leaves their pairs out."
        )
    unit = embeddings[[row_of[key] for key in needed.tolist()]].astype(np.float64)
    norms = np.linalg.norm(unit, axis=1)
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all():
        bad = int(np.argmin(usable))
        raise ValueError(f"an embedding must be finite and not zero, got length {norms[bad]} for {str(needed[bad])!r}.")
    unit /= norms[:, None]
    left, right = np.split(place, 2)
    scores = np.empty(len(pairs))
    # In blocks, because the gathered rows of a large protocol would need far more memory than the embeddings.
    for start in range(0, len(pairs), 4096):
        block = slice(start, start + 4096)
        scores[block] = np.einsum("pd,pd->p", unit[left[block]], unit[right[block]])
    return scores


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
        "auc": result.auc,
        "eer": result.eer,
        "threshold": _finite(result.threshold),
        "tar_at_far": [{key: _finite(value) for key, value in point.items()} for point in points],
    }


def _finite(number):
    return number if math.isfinite(number) else None


def _percent(rate):
    return "n/a" if math.isnan(rate) else f"{100 * rate:.2f}"
