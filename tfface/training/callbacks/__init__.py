"""Keras callbacks that count the steps of the whole run."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "angles": ("AngleHistograms",),
        "drift": ("EmbeddingDrift",),
        "rebuild_forest": ("RebuildForest",),
        "steps": ("CsvLog", "EndWhenAsked", "SaveCheckpoints", "StepCallback", "StepLog", "Verification"),
    },
)
