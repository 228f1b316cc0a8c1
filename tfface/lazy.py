"""Packages whose public names are imported on first use, so that tools which need no TensorFlow start at once."""

import importlib


def exports(package, homes):
    """Makes the module functions `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
      package: str, name of the package.
      homes: dict from submodule to the public names that it holds; the submodule itself is public too.

    Returns:
      (`__getattr__`, `__dir__`).
    """
    home = {name: module for module, names in homes.items() for name in names}

    def get(name):
        if name in home:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        if name in homes:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names():
        return sorted({*home, *homes})

    return get, names
