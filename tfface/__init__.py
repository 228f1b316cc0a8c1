"""tfface: face-recognition training, evaluation and serving in TensorFlow and Keras."""

from importlib import metadata

from tfface import lazy

__version__ = "0.1.0"

_TENSORFLOW_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly", "tf-nightly-cpu")
_ROOMS = ("backbones", "classifier", "data", "evaluation", "export", "heads", "losses", "serving", "training")


def _installed(distribution):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _check_versions():
    """Raises ImportError outside the supported range, before anything fails in a less readable way."""
    found = {name: version for name in _TENSORFLOW_DISTRIBUTIONS if (version := _installed(name))}
    if not found:
        raise ImportError("tfface needs TensorFlow >= 2.18: install `tfface[cpu]`, `tfface[gpu]` or TensorFlow itself.")
    for name, version in {**found, "keras": _installed("keras") or "none"}.items():
        oldest = (3, 8) if name == "keras" else (2, 18)
        parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if parts < oldest:
            wanted = ".".join(map(str, oldest))
            raise ImportError(f"tfface needs {name} >= {wanted}, found {version}. Legacy tf-keras is not supported.")


_check_versions()


__getattr__, __dir__ = lazy.exports(__name__, {**dict.fromkeys(_ROOMS, ()), "training": ("FaceModel",)})
