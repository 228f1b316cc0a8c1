"""Samplers: which classes take part in a training step."""

from tfface import lazy

SERIALIZABLE = {
    "hash_forest": ("HashForestSampler",),
    "uniform": ("UniformSampler",),
}

# What `--sampler` and the list of components name.
COMPONENTS = tuple(name for names in SERIALIZABLE.values() for name in names)

__getattr__, __dir__ = lazy.exports(__name__, SERIALIZABLE)
