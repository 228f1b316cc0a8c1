"""The programs as functions: train, embed, verify and export, with reports, cards and provenance."""

from tfface import lazy, needs_tensorflow  # noqa: F401

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "embedding": ("embed_images", "skip_bad_records"),
        "exports": ("ExportResult", "export_model"),
        "training": ("TrainResult", "train"),
        "verification": ("verification_pairs", "verify_model"),
    },
)
