"""The protocols of IJB-B and IJB-C on templates: verification (1:1) and identification in two galleries (1:N)."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfface.evaluation.exact.similarity import float32_product, pair_scores
from tfface.evaluation.metrics.confidence import wilson_interval
from tfface.evaluation.metrics.identification import Identification, identify
from tfface.evaluation.metrics.verification import OperatingPoint, area_under_curve, equal_error_rate, tar_at_far
from tfface.evaluation.protocols.templates import Templates


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateVerification:
    """Results of a 1:1 template protocol.

    Attributes:
      pooling: str, the mode.
      tar_at_far: dict from FAR to OperatingPoint.
      intervals: dict from FAR to (low, high), Wilson's 95 % interval of the TAR at its threshold. These are too narrow,
        because pairs of these protocols share templates; if people are known, use `bootstrap_tar_at_far`.
      eer: equal error rate.
      auc: area under the ROC.
      genuine: int, number of genuine pairs.
      impostors: int, number of impostor pairs.
      genuine_scores: float64 [genuine], cosine similarities in the order of the pairs.
      impostor_scores: float64 [impostors].
    """

    pooling: str
    tar_at_far: dict[float, OperatingPoint]
    intervals: dict[float, tuple[float, float]]
    eer: float
    auc: float
    genuine: int
    impostors: int
    genuine_scores: np.ndarray
    impostor_scores: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateIdentification:
    """Results of a 1:N template protocol.

    Attributes:
      pooling: str, the mode.
      galleries: tuple of Identification, one per gallery.
    """

    pooling: str
    galleries: tuple[Identification, ...]

    @property
    def rank_rates(self) -> dict[int, float]:
        """Dict from rank to the mean over the galleries."""
        ranks = self.galleries[0].rank_rates
        return {rank: float(np.mean([each.rank_rates[rank] for each in self.galleries])) for rank in ranks}

    @property
    def tpir_at_fpir(self) -> dict[float, float]:
        """Dict from FPIR to the mean TPIR over the galleries; NaN if one of them cannot measure it."""
        fpirs = self.galleries[0].tpir_at_fpir
        return {fpir: float(np.mean([each.tpir_at_fpir[fpir].tpir for each in self.galleries])) for fpir in fpirs}


def verify_templates(
    templates: Templates,
    left: np.ndarray,
    right: np.ndarray,
    same: np.ndarray,
    fars: Iterable[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
) -> TemplateVerification:
    """Compares pairs of templates (1:1) by exact cosine similarity.

    Args:
      templates: Templates.
      left: int or str [P], id of the first template of every pair.
      right: int or str [P], id of the second template.
      same: bool [P], True for a genuine pair.
      fars: iterable of float in (0, 1].

    Returns:
      TemplateVerification.

    Raises:
      ValueError: an id is unknown, genuine or impostor pairs are missing, or shapes, types or FARs do not fit.

    Reference:
      Maze et al., IARPA Janus Benchmark - C, ICB 2018.
    """
    same = np.asarray(same)
    if same.dtype != bool or not same.shape == np.shape(left) == np.shape(right):
        shapes = f"{np.shape(left)}, {np.shape(right)} and {same.dtype} {same.shape}"
        raise ValueError(f"`left`, `right` and bool `same` must be [P], got {shapes}.")
    scores = pair_scores(templates.embeddings, templates.rows(left), templates.rows(right))
    genuine, impostor = scores[same], scores[~same]
    if not genuine.size or not impostor.size:
        raise ValueError(f"genuine and impostor pairs of templates are needed, got {genuine.size} and {impostor.size}.")
    points = tar_at_far(genuine, impostor, fars)
    return TemplateVerification(
        templates.pooling,
        points,
        {far: wilson_interval(point.tar, genuine.size) for far, point in points.items()},
        equal_error_rate(genuine, impostor),
        area_under_curve(genuine, impostor),
        genuine.size,
        impostor.size,
        genuine,
        impostor,
    )


def identify_templates(
    templates: Templates,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    galleries: Iterable[tuple[Sequence, np.ndarray]],
    ranks: Iterable[int] = (1, 5, 10),
    fpirs: Iterable[float] = (1e-2, 1e-1),
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = float32_product,
) -> TemplateIdentification:
    """Searches probe templates in each gallery (1:N); IJB-B and IJB-C have two, of different people.

    A probe is non-mated in a gallery that lacks its person. Galleries are never merged: each has its own threshold and
    rates, and the protocol reports their means.

    Args:
      templates: Templates.
      probes: int or str [P], distinct ids of the probe templates.
      probe_labels: int or str [P], identities of the probes.
      galleries: list of (ids [N], labels [N]); the ids of a gallery are distinct.
      ranks: as in `identify`.
      fpirs: as in `identify`.
      product: as in `identify`.

    Returns:
      TemplateIdentification.

    Raises:
      ValueError: there is no gallery, an id is unknown or listed twice, or as in `identify`.

    Reference:
      Whitelam et al., IARPA Janus Benchmark-B Face Dataset, CVPR Workshops 2017; Maze et al., IARPA Janus Benchmark -
      C, ICB 2018.
    """
    galleries = list(galleries)
    if not galleries:
        raise ValueError("at least one gallery is needed, got none.")
    embeddings = templates.embeddings[_different_rows(templates, probes)]
    results = (
        identify(
            embeddings,
            probe_labels,
            templates.embeddings[_different_rows(templates, ids)],
            labels,
            ranks,
            fpirs,
            product,
        )
        for ids, labels in galleries
    )
    return TemplateIdentification(templates.pooling, tuple(results))


def _different_rows(templates, ids):
    """Returns rows of templates; refuses repeated ids, because IJB's files list a template once per image."""
    rows = templates.rows(ids)
    listed, times = np.unique(rows, return_counts=True)
    if np.any(times > 1):
        repeated = templates.ids[listed[np.argmax(times)]].item()
        raise ValueError(f"template {repeated!r} must be listed once, got {times.max()} times.")
    return rows
