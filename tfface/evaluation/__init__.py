"""Protocols, metrics and reports of face recognition on NumPy arrays; TensorFlow is not needed."""

from tfface.evaluation.exact.similarity import pair_scores
from tfface.evaluation.metrics.angles import (
    AngleStatistics,
    angle_statistics,
    angles_to_class_weights,
    nearest_angles,
)
from tfface.evaluation.metrics.confidence import bootstrap_tar_at_far, wilson_interval
from tfface.evaluation.metrics.drift import embedding_drift
from tfface.evaluation.metrics.gallery import NearPerson, identify_others, nearest_people
from tfface.evaluation.metrics.groups import GroupResult, GroupTable, group_results, read_groups
from tfface.evaluation.metrics.hardest import ScoredPair, hardest_pairs
from tfface.evaluation.metrics.identification import Identification, IdentificationPoint, identify
from tfface.evaluation.metrics.protocol_result import Curve, ProtocolResult
from tfface.evaluation.metrics.random_directions import closest_pair_angle, nearest_neighbour_angle
from tfface.evaluation.metrics.retrieval import Retrieval, retrieve
from tfface.evaluation.metrics.verification import (
    FoldAccuracy,
    OperatingPoint,
    Roc,
    area_under_curve,
    best_threshold,
    combined_accuracy,
    equal_error_rate,
    kfold_accuracy,
    roc,
    tar_at_far,
)
from tfface.evaluation.metrics.verification_result import VerificationResult
from tfface.evaluation.metrics.weight_cosines import CosineDistribution, nearest_cosines, pairwise_cosines
from tfface.evaluation.protocols.exhaustive import ExhaustiveResult, exhaustive_tar_at_far
from tfface.evaluation.protocols.megaface import MegaFaceResult, megaface_challenge
from tfface.evaluation.protocols.template_protocols import (
    TemplateIdentification,
    TemplateVerification,
    identify_templates,
    verify_templates,
)
from tfface.evaluation.protocols.templates import Pooling, Templates, pool_templates
from tfface.evaluation.protocols.trillion_pairs import identify_at_fpr
from tfface.evaluation.reports.html_report import html_report
from tfface.evaluation.reports.measures import measures_table
from tfface.evaluation.reports.plots import cmc_figure, histogram_figure, plot_report, roc_figure, to_svg
from tfface.evaluation.reports.tables import to_csv, to_json, to_table, verify
from tfface.evaluation.reports.toy_plot import plot_embeddings

# What `pooling=` of a protocol names.
POOLINGS = ("Pooling",)

__all__ = [
    "AngleStatistics",
    "CosineDistribution",
    "Curve",
    "ExhaustiveResult",
    "FoldAccuracy",
    "GroupResult",
    "GroupTable",
    "Identification",
    "IdentificationPoint",
    "MegaFaceResult",
    "NearPerson",
    "OperatingPoint",
    "Pooling",
    "ProtocolResult",
    "Retrieval",
    "Roc",
    "ScoredPair",
    "TemplateIdentification",
    "TemplateVerification",
    "Templates",
    "VerificationResult",
    "angle_statistics",
    "angles_to_class_weights",
    "area_under_curve",
    "best_threshold",
    "bootstrap_tar_at_far",
    "closest_pair_angle",
    "cmc_figure",
    "combined_accuracy",
    "embedding_drift",
    "equal_error_rate",
    "exhaustive_tar_at_far",
    "group_results",
    "hardest_pairs",
    "histogram_figure",
    "html_report",
    "identify",
    "identify_at_fpr",
    "identify_others",
    "identify_templates",
    "kfold_accuracy",
    "measures_table",
    "megaface_challenge",
    "nearest_angles",
    "nearest_cosines",
    "nearest_neighbour_angle",
    "nearest_people",
    "pair_scores",
    "pairwise_cosines",
    "plot_embeddings",
    "plot_report",
    "pool_templates",
    "read_groups",
    "retrieve",
    "roc",
    "roc_figure",
    "tar_at_far",
    "to_csv",
    "to_json",
    "to_svg",
    "to_table",
    "verify",
    "verify_templates",
    "wilson_interval",
]
