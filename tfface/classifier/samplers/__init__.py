"""Samplers: which classes take part in a training step."""

from tfface import lazy

COMPONENTS = ("HashForestSampler", "UniformSampler")

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "hash_forest": ("HashForestSampler",),
        "uniform": ("UniformSampler",),
    },
)
