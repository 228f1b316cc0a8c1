"""A report of an evaluation on one HTML page that needs no network."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfface.evaluation.metrics.angles import AngleStatistics
from tfface.evaluation.metrics.confidence import wilson_interval
from tfface.evaluation.metrics.groups import GroupTable
from tfface.evaluation.metrics.hardest import ScoredPair
from tfface.evaluation.metrics.identification import Identification
from tfface.evaluation.metrics.protocol_result import ProtocolResult
from tfface.evaluation.metrics.verification_result import VerificationResult, several
from tfface.evaluation.reports import html_page, plots
from tfface.evaluation.reports.measures import HEADER, described, measure_rows, partial
from tfface.evaluation.reports.tables import incomplete, table_rows

_RANKS = (1, 5, 10, 20)


def html_report(
    path: str | os.PathLike,
    title: str,
    results: VerificationResult | Iterable[VerificationResult],
    *,
    context: Mapping[str, Any],
    others: Sequence[ProtocolResult] = (),
    identification: Identification | None = None,
    gallery_size: int | None = None,
    angles: AngleStatistics | None = None,
    groups: Mapping[str, Sequence[GroupTable]] | None = None,
    hardest: Mapping[str, tuple[Sequence[ScoredPair], Sequence[ScoredPair]]] | None = None,
    pictures: Mapping[str, Any] | None = None,
) -> None:
    """Writes a report: tables, curves, histograms, groups, the hardest pairs, and the origin of the numbers.

    Args:
      path: HTML file to write; a reader sees the old file or the whole new one.
      title: str, title of the page.
      results: VerificationResult, or several with distinct names.
      context: dict from str to text, or to a dict of text, that makes the numbers traceable: command, hashes, modes.
      others: list of ProtocolResult.
      identification: Identification with the ranks from 1 up, in the gallery of `identify_others`; or None.
      gallery_size: int, number of people in that gallery.
      angles: AngleStatistics of the embeddings, or None.
      groups: dict from the name of a result to its list of GroupTable.
      hardest: dict from the name of a result to its (genuine, impostor) lists of ScoredPair.
      pictures: dict from key to the bytes of a JPEG or PNG file, or from the name of a result to such a dict, where
        equal keys name different images; if one is missing, pairs are listed by name.

    Raises:
      ValueError: there are no results.
    """
    results = several(results)
    if not results and not others:
        raise ValueError("a report needs at least one result, got none.")
    body = [_summary(results), _curves(results, identification)] if results else []
    body += [_measures(result) for result in others]
    if identification is not None:
        body.append(_identification(identification, gallery_size))
    if angles is not None:
        body.append(_angles(angles))
    for name, tables in (groups or {}).items():
        body.append(_groups(name, tables))
    for name, kinds in (hardest or {}).items():
        body.append(_hardest(name, kinds, (pictures or {}).get(name, pictures or {})))
    body.append(html_page.section("How these numbers were made", html_page.definitions(context)))
    html_page.write_page(path, title, body)


def _summary(results):
    header, *rows = table_rows(results)
    fars = sorted({far for result in results for far in result.tar_at_far}, reverse=True)
    intervals = [[result.name, *(_tar(result, far) for far in fars)] for result in results]
    return html_page.section(
        "Summary",
        html_page.table("Verification", header, rows),
        *map(html_page.paragraph, incomplete(results)),
        html_page.paragraph(
            "Accuracy: mean ± standard deviation over the folds, each at the threshold chosen on the other folds. "
            "EER: equal error rate. TAR: fraction of genuine pairs accepted if at most a fraction FAR of the impostor "
            "pairs is; n/a marks a FAR below one impostor pair in all, which these pairs cannot measure."
        ),
        html_page.table("TAR % and its 95 % interval", ["protocol", *(f"at FAR {far:g}" for far in fars)], intervals),
        html_page.paragraph(
            "Wilson intervals assume independent pairs; because pairs share people, the true intervals are wider."
        ),
    )


def _tar(result, far):
    if far not in result.tar_at_far:
        return "-"
    return _rate(result.tar_at_far[far].tar, len(result.genuine_scores))


def _curves(results, identification):
    rates = "; ".join(
        f"{result.name}: AUC {result.auc:.4f}, equal error rate {100 * result.eer:.2f} %" for result in results
    )
    means = "; ".join(
        f"{result.name}: genuine pairs {result.genuine_scores.mean():.3f}, impostor {result.impostor_scores.mean():.3f}"
        for result in results
    )
    charts = [
        (plots.roc_figure(results), f"ROC curves. {rates}."),
        (plots.histogram_figure(results), f"Histograms of cosine similarity. Means: {means}."),
        (plots.histogram_figure(results, degrees=True), "The same pairs by angle in degrees."),
    ]
    if identification is not None:
        curve = [rate for _, rate in sorted(identification.rank_rates.items())]
        spoken = f"CMC curve. Rank 1: {100 * curve[0]:.2f} %; rank {len(curve)}: {100 * curve[-1]:.2f} %."
        charts.insert(1, (plots.cmc_figure({"identification": curve}), spoken))
    return html_page.section("Curves", html_page.charts(*((plots.to_svg(figure), spoken) for figure, spoken in charts)))


def _measures(result):
    charts = [
        (plots.to_svg(plots.curve_figure({name: curve})), f"{curve.kind} of {result.name}, {name}.")
        for name, curve in result.curves.items()
        if curve.x
    ]
    return html_page.section(
        result.name,
        html_page.table("Rates", HEADER[1:], [row[1:] for row in measure_rows(result)]),
        *map(html_page.paragraph, partial([result])),
        html_page.paragraph(f"{described(result)} n/a marks a rate that these images cannot measure."),
        html_page.charts(*charts),
    )


def _identification(identification, gallery_size):
    rates, probes = identification.rank_rates, identification.mated
    ranks = [rank for rank in _RANKS if rank in rates]
    row = ["probes found %", *(_rate(rates[rank], probes) for rank in ranks)]
    return html_page.section(
        "Identification",
        html_page.paragraph(
            f"{probes} probes are searched in a gallery of {gallery_size} people. The gallery holds the first image of "
            "each person by name; the probes are all other images. A tie is not a hit."
        ),
        html_page.table(
            "Probes whose person is among the first, and 95 % interval",
            ["", *(f"rank {rank}" for rank in ranks)],
            [row],
        ),
    )


def _angles(angles):
    names = ("W-EC", "W-Inter", "Intra", "Inter")
    known = {name: f"{angle:.2f}" for name, angle in zip(names, angles, strict=True) if angle is not None}
    weights = (
        "W-EC: between a class weight and the centre of its embeddings. W-Inter: between a class weight and its "
        "nearest neighbour. "
    )
    return html_page.section(
        "Angles",
        html_page.table("Mean angles in degrees", ["", *known], [["embeddings", *known.values()]]),
        html_page.paragraph(
            f"{'' if angles.w_ec is None else weights}Intra: between an embedding and the centre of its person. Inter: "
            "between a centre and its nearest neighbour. As in Table 3 of ArcFace."
        ),
    )


def _groups(name, tables):
    parts = [
        html_page.paragraph(
            "All groups are judged at the thresholds of the whole protocol. Balanced accuracy: mean of the accuracies "
            "on genuine and on impostor pairs. Error rates have 95 % intervals, which are wide for small groups."
        )
    ]
    header = ["group", "genuine", "impostor", "balanced accuracy %", "refused genuine %", "accepted impostor %"]
    for table in tables:
        rows = [
            [
                group.name,
                group.genuine,
                group.impostor,
                _percent(group.accuracy),
                _rate(group.refused, group.genuine),
                _rate(group.accepted, group.impostor),
            ]
            for group in table.groups
        ]
        worst = table.worst
        index = None if worst is None else table.groups.index(worst)
        parts.append(html_page.table(f"By {table.column}", header, rows, index))
        if worst is not None:
            parts.append(html_page.paragraph(f"Worst: {worst.name}, {_percent(worst.accuracy)} %."))
    return html_page.section(f"Groups: {name}", *parts)


def _hardest(name, kinds, pictures):
    parts = []
    for title, pairs in zip(
        ("Genuine pairs that look least alike", "Impostor pairs that look most alike"), kinds, strict=True
    ):
        parts.append(html_page.heading(title))
        if all({pair.left, pair.right} <= pictures.keys() for pair in pairs):
            parts.append(html_page.face_pairs([(*pair, pictures[pair.left], pictures[pair.right]) for pair in pairs]))
        else:
            rows = [[f"{pair.left} – {pair.right}", f"{pair.score:.3f}"] for pair in pairs]
            parts.append(html_page.table(f"{title} (without pictures)", ["images", "cosine similarity"], rows))
    return html_page.section(f"Hardest pairs: {name}", *parts)


def _rate(rate, trials):
    """Formats a rate in percent with its interval."""
    if rate != rate:
        return "n/a"
    low, high = wilson_interval(rate, trials)
    return f"{100 * rate:.2f} ({100 * low:.1f} to {100 * high:.1f})"


def _percent(rate):
    return "n/a" if rate != rate else f"{100 * rate:.2f}"
