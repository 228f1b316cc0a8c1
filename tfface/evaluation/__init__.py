"""Protocols, metrics and reports; takes arrays and knows no TensorFlow."""

from tfface.evaluation.plots import plot_report
from tfface.evaluation.report import VerificationResult, to_json, to_table, verify
from tfface.evaluation.verification import (
    FoldAccuracy,
    OperatingPoint,
    Roc,
    area_under_curve,
    best_threshold,
    equal_error_rate,
    kfold_accuracy,
    roc,
    tar_at_far,
)

__all__ = [
    "FoldAccuracy",
    "OperatingPoint",
    "Roc",
    "VerificationResult",
    "area_under_curve",
    "best_threshold",
    "equal_error_rate",
    "kfold_accuracy",
    "plot_report",
    "roc",
    "tar_at_far",
    "to_json",
    "to_table",
    "verify",
]
