"""The programs as functions: train, embed, verify and export, with reports, cards and provenance."""

from tfface import lazy, needs_tensorflow  # noqa: F401

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "embedding": ("embed_images",),
        "exports": ("ExportResult", "export_model"),
        "identification": ("Found", "Threshold", "find_people"),
        "image_folders": ("open_images",),
        "protocols": ("evaluate_protocols", "split_protocols"),
        "training": ("TrainResult", "train"),
        "verification": ("verification_pairs", "verify_model"),
    },
)
