"""Optimizers and learning-rate schedules."""

from tfface import lazy

# What `--optimizer` and `--schedule` name.
OPTIMIZERS = ("AdamW", "LAMB", "SGD")
SCHEDULES = ("Constant", "Cosine", "Polynomial", "Steps")

SERIALIZABLE = {
    "lamb": ("LAMB",),
    "row_sgd": ("RowSGD",),
    "schedules": ("WarmUp",),
}

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "lamb": ("LAMB",),
        "recipes": ("AdamW", "SGD"),
        "row_sgd": ("RowSGD",),
        "schedules": (*SCHEDULES, "learning_rate"),
    },
    check_tensorflow=True,
)
