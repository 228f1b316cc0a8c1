"""The library's classes in Keras' registry from `import tfface` on, so that `keras.models.load_model` finds them.

Importing them would import TensorFlow. The registry holds a `LazyClass` for each until a file needs it.
"""

import importlib
import importlib.util
import sys

# Each has a table SERIALIZABLE: module of the package -> names of the classes in it that a Keras file may name.
_PACKAGES = ("backbones", "classifier.samplers", "heads", "losses", "optimizers", "training")


def classes() -> dict[str, tuple[str, ...]]:
    """Returns the classes that Keras files may name, by module below `tfface`; imports the packages' tables alone."""
    return {
        f"{package}.{module}": names
        for package in _PACKAGES
        for module, names in importlib.import_module(f"tfface.{package}").SERIALIZABLE.items()
    }


class LazyClass:
    """Stands for a class; its first use imports the module, whose decorator puts the class itself in its place."""

    def __init__(self, module: str, name: str):
        self._path = (module, name)

    def __getattr__(self, attribute):
        module, name = self._path
        return getattr(getattr(importlib.import_module(module), name), attribute)


def register() -> None:
    """Registers all classes now if Keras is imported, or else as soon as it has been."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register(keras):
    # Keras 2, or no TensorFlow: `needs_tensorflow` says so where Keras is used.
    if int(keras.__version__.partition(".")[0]) < 3:
        return
    try:
        found = classes()
    except ImportError:
        return
    registry = keras.saving.get_custom_objects()
    for module, names in found.items():
        for name in names:
            registry.setdefault(f"tfface>{name}", LazyClass(f"tfface.{module}", name))


class _AfterKeras:
    """A finder that leaves Keras to the finders behind it and registers the classes after the import."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        place = sys.meta_path.index(self)
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            # TensorFlow looks for Keras before it imports it.
            sys.meta_path.insert(place, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                sys.meta_path.remove(self)
                _register(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
