"""Importing this module raises ImportError where TensorFlow is missing or too old, before anything fails less readably.

Every package that needs TensorFlow imports it first. The others, such as `tfface.evaluation`, work without TensorFlow.
"""

from importlib import metadata

_TENSORFLOW_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly", "tf-nightly-cpu")


def _installed(distribution):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _check_versions():
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
