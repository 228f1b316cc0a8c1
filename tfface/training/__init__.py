"""Training: the model, its schedule, callbacks and checkpoints, and the jobs made of them."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "build": ("load_encoder",),
        "class_weights": ("read_class_weights",),
        "config": ("TrainConfig",),
        "embed": ("embed_images", "skip_bad_records"),
        "evaluate": ("verify_model",),
        "exports": ("ExportResult", "export_model"),
        "model": ("FaceModel",),
        "optimizers": ("LAMB", "RowSGD"),
        "run": ("TrainResult", "train"),
    },
)
