"""The files of an evaluation: numbers for programs and spreadsheets, a picture, and a page to read."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfface import data, evaluation, export
from tfface.data.protocols.pair_lists import Pairs
from tfface.evaluation.reports.measures import plain_result
from tfface.jobs.thumbnails import read_thumbnails


def write_report(
    embeddings: export.Embeddings,
    protocols: Mapping[str, Pairs],
    output: str | os.PathLike,
    context: Mapping[str, Any],
    title: str,
    *,
    page: str | os.PathLike | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    hardest: int = 8,
    images: str | os.PathLike | data.Records | data.ImageFolder | None = None,
    earlier: Sequence[evaluation.VerificationResult] = (),
    class_weights: np.ndarray | None = None,
) -> list[evaluation.VerificationResult]:
    """Verifies embeddings and writes `results.json`, `results.csv`, `report.png` and an HTML page.

    Args:
      embeddings: `Embeddings`; with labels, identification and angles are reported too.
      protocols: dict from name to `Pairs`.
      output: folder to write to.
      context: dict of JSON values that makes the numbers traceable.
      title: str.
      page: path of the HTML page; default: `report.html` in the folder.
      columns: dict from column to dict from key to value, which group the results; or None.
      hardest: int, number of pairs of each kind on the page.
      images: records or folder of images that hold their pictures, or None.
      earlier: list of `VerificationResult` with other names, shown for comparison; JSON and CSV leave them out.
      class_weights: float [K, D], row k for label k, or None.

    Returns:
      list of `VerificationResult`, one per protocol.

    Raises:
      ValueError: the embeddings do not cover the pairs or cannot be measured, or a column lacks images of the pairs.
      OSError: a file cannot be read or written.
    """
    results = [evaluation.verify(embeddings.vectors, embeddings.keys, pairs, name) for name, pairs in protocols.items()]
    groups = {
        result.name: [
            evaluation.group_results(result, protocols[result.name], column, values)
            for column, values in columns.items()
        ]
        for result in results
        if columns
    }
    pairs = {result.name: evaluation.hardest_pairs(result, protocols[result.name], hardest) for result in results}
    shown = keys_of(pairs.values())
    pictures = read_thumbnails(images, shown) if images is not None and shown else {}
    identification, gallery_size, angles = people_in(embeddings, class_weights)
    write_results(
        results,
        output,
        context,
        title,
        page=page,
        earlier=earlier,
        groups=groups,
        hardest=pairs,
        pictures=dict.fromkeys(pairs, pictures),
        identification=identification,
        gallery_size=gallery_size,
        angles=angles,
    )
    return results


def write_results(
    results: Sequence[evaluation.VerificationResult],
    output: str | os.PathLike,
    context: Mapping[str, Any],
    title: str,
    *,
    others: Sequence[evaluation.ProtocolResult] = (),
    page: str | os.PathLike | None = None,
    earlier: Sequence[evaluation.VerificationResult] = (),
    groups: Mapping[str, Sequence[evaluation.GroupTable]] | None = None,
    hardest: Mapping[str, tuple[Sequence[evaluation.ScoredPair], Sequence[evaluation.ScoredPair]]] | None = None,
    pictures: Mapping[str, Mapping[str, bytes]] | None = None,
    identification: evaluation.Identification | None = None,
    gallery_size: int | None = None,
    angles: evaluation.AngleStatistics | None = None,
) -> None:
    """Writes results as `results.json`, `results.csv`, `report.png` and an HTML page.

    Args:
      results: list of `VerificationResult`.
      output: folder to write to.
      context, title, page, earlier: as for `write_report`.
      others: list of `ProtocolResult`.
      groups, hardest, pictures, identification, gallery_size, angles: as for `tfface.evaluation.html_report`.

    Raises:
      OSError: a file cannot be written.
    """
    output = pathlib.Path(output)
    sections: dict[str, Any] = {
        "groups": {name: [table.to_dict() for table in tables] for name, tables in (groups or {}).items()}
    }
    if others:
        sections["protocols"] = [plain_result(result) for result in others]
    if identification is not None and angles is not None:
        sections["identification"] = {
            "gallery": gallery_size,
            "probes": identification.mated,
            "rank_rates": identification.rank_rates,
        }
        sections["angles"] = angles._asdict()
    evaluation.to_json(results, output / "results.json", context, **sections)
    evaluation.to_csv(results, output / "results.csv", others)
    if results:
        evaluation.plot_report([*earlier, *results], output / "report.png", title)
    evaluation.html_report(
        output / "report.html" if page is None else page,
        title,
        [*earlier, *results],
        context=context,
        others=others,
        identification=identification,
        gallery_size=gallery_size,
        angles=angles,
        groups=groups,
        hardest=hardest,
        pictures=pictures,
    )


def keys_of(hardest: Iterable[Iterable[Iterable[evaluation.ScoredPair]]]) -> set[str]:
    """Returns the keys of the images in the hardest pairs of lists, each with pairs of both kinds."""
    return {key for kinds in hardest for kind in kinds for pair in kind for key in (pair.left, pair.right)}


def people_in(
    embeddings: export.Embeddings, class_weights: np.ndarray | None = None
) -> tuple[evaluation.Identification | None, int | None, evaluation.AngleStatistics | None]:
    """Returns (Identification, gallery size, AngleStatistics), or three times None if the labels do not allow them."""
    if embeddings.labels is None or not 1 < len(np.unique(embeddings.labels)) < len(embeddings.labels):
        return None, None, None
    found = evaluation.identify_others(embeddings.vectors, embeddings.keys, embeddings.labels)
    return *found, evaluation.angle_statistics(embeddings.vectors, embeddings.labels, class_weights)
