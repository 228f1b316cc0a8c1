"""The API reference has every public name once: its pages are made from the sources, the names here are imported."""

import collections
import importlib
import inspect
import pkgutil
import re
import types

import reference_pages

import tfface

PAGES = reference_pages.pages()
ENTRIES = collections.Counter(
    entry for text in PAGES.values() for entry in re.findall(r"^::: (\S+)$", text, re.MULTILINE)
)


def _packages():
    """The packages that offer names: those of `tfface.lazy` and those with `__all__`."""
    names = [module.name for module in pkgutil.walk_packages(tfface.__path__, "tfface.") if module.ispkg]
    found = [tfface, *map(importlib.import_module, names)]
    return [package for package in found if hasattr(package, "__getattr__") or hasattr(package, "__all__")]


def _offered():
    """Pairs of path and object of all that packages offer, modules too."""
    for package in _packages():
        for name in getattr(package, "__all__", None) or dir(package):
            yield f"{package.__name__}.{name}", getattr(package, name)


def _own(module):
    """The public functions and classes that a module defines, by their paths."""
    members = inspect.getmembers(module, lambda value: inspect.isfunction(value) or inspect.isclass(value))
    return {
        f"{module.__name__}.{name}": value
        for name, value in members
        if value.__module__ == module.__name__ and not name.startswith("_")
    }


def test_each_public_name_is_on_one_page_once():
    paths = collections.defaultdict(set)
    modules = []
    for path, value in _offered():
        if not isinstance(value, types.ModuleType):
            paths[id(value)].add(path)
        elif not hasattr(value, "__path__"):
            modules.append(value)
    # A module that a package offers without names from it is public as it is.
    for module in modules:
        own = _own(module)
        if not any(id(value) in paths for value in own.values()):
            paths |= {id(value): {path} for path, value in own.items()}
    assert len(paths) > 280
    for of_object in paths.values():
        assert sum(ENTRIES[path] for path in of_object) == 1, of_object
    assert ENTRIES.total() == len(paths)


def test_entries_are_what_python_finds_under_their_names():
    for entry in ENTRIES:
        value = pkgutil.resolve_name(entry)
        # Once the module of this name is imported, it takes the place of a function of the same name.
        assert not isinstance(value, types.ModuleType), entry
        if inspect.isfunction(value) or inspect.isclass(value):
            (row,) = (line for text in PAGES.values() for line in text.splitlines() if f"][{entry}]" in line)
            assert value.__doc__ and value.__doc__.partition("\n")[0] in row, entry
