"""Sources: one interface to the images of any input."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "base": ("Item", "Source"),
    },
)
