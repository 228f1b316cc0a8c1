"""Plans of training runs: what they take, before they start."""

from tfface import lazy, needs_tensorflow  # noqa: F401

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "advice": ("advise",),
        "memory": ("Memory", "Setup", "memory_of"),
        "plan": ("Plan", "plan_training"),
        "sizes": ("Sizes",),
    },
)
