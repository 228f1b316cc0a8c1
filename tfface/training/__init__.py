"""Training: the model, its schedule, callbacks and checkpoints, and the jobs made of them."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "build": ("load_encoder",),
        "config": ("TrainConfig",),
        "evaluate": ("verify_model",),
        "model": ("FaceModel",),
        "run": ("TrainResult", "train"),
    },
)
