"""Packages whose public names are imported on first use, so that tools which need no TensorFlow start at once."""

import importlib


def exports(package, homes, *, check_tensorflow=False):
    """Makes the module functions `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
      package: str, name of the package.
      homes: dict from module to the public names that it holds. A module is named relative to the package, as in
        "images.decoding", and its first part is public too; a name that begins with "tfface." is absolute.
      check_tensorflow: bool, whether the first use of a name refuses unsupported versions of TensorFlow and Keras.

    Returns:
      (`__getattr__`, `__dir__`).
    """
    paths = {module: module if module.startswith("tfface.") else f"{package}.{module}" for module in homes}
    home = {name: paths[module] for module, names in homes.items() for name in names}
    submodules = {module.partition(".")[0] for module in homes if not module.startswith("tfface.")}

    def get(name):
        if check_tensorflow and name in {*home, *submodules}:
            importlib.import_module("tfface.needs_tensorflow")
        if name in home:
            return getattr(_load(home[name]), name)
        if name in submodules:
            return _load(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names():
        return sorted({*home, *submodules})

    return get, names


def _load(module):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name in ("tensorflow", "keras"):
            importlib.import_module("tfface.needs_tensorflow")  # Its error says what to install.
        raise
