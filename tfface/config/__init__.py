"""Settings of a run, the files that keep them, and the model that they describe."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "build": ("build_encoder", "build_head", "load_encoder"),
        "train_config": ("TrainConfig",),
    },
)
