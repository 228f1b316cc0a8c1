"""Keras callbacks: of each epoch of `model.fit`, and of the steps of a whole run."""

from tfface import lazy

CALLBACKS = ("AngleHistograms", "EmbeddingDrift")  # Those that a training can be asked for.

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "angles": ("AngleHistograms",),
        "drift": ("EmbeddingDrift",),
        "epochs": ("EpochVerification",),
        "rebuild_forest": ("RebuildForest",),
        "steps": ("CsvLog", "EndWhenAsked", "SaveCheckpoints", "StepCallback", "StepLog", "Verification"),
    },
)
