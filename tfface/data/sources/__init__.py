"""Sources: images of any input, one interface."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "base": ("Item", "Source"),
    },
)
