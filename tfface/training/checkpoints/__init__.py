"""Checkpoints: saving, resuming on any number of devices, and reading a part of them."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "class_weights": ("read_class_weights",),
        "saving": ("Checkpoints", "latest_checkpoint", "restore_encoder"),
        "warm_start": (),
    },
)
