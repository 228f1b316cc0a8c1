"""Optimizers and learning-rate schedules."""

from tfface import lazy, needs_tensorflow  # noqa: F401

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "lamb": ("LAMB",),
        "row_sgd": ("RowSGD",),
        "schedules": ("learning_rate",),
    },
)
