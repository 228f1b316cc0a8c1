"""The public names of the library, read from its sources: what the `__init__` of each package offers.

Nothing is imported, so neither TensorFlow nor tfface need be installed.
"""

import ast
import dataclasses
import functools
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class PublicName:
    """A public function, class or constant.

    Attributes:
      path: str, where users import it from, as in "tfface.heads.ArcFace".
      definition: str, where its code is, as in "tfface.heads.arcface.ArcFace".
      summary: str, the first line of its docstring; "" of a constant.
    """

    path: str
    definition: str
    summary: str


def packages() -> list[str]:
    """Returns the names of the packages of the library."""
    return sorted(".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "tfface").rglob("__init__.py"))


def public_names() -> dict[str, list[PublicName]]:
    """Returns the public names by the package below `tfface` that defines them; each is there once.

    Where several packages offer a name, its path is the shortest, as `tfface.FaceModel`, then that of its own package.
    """
    offered = dict(pair for package in packages() for pair in _offered(package))
    paths: dict[str, str] = {}
    for path, definition in offered.items():
        while definition in offered and offered[definition] != definition:
            definition = offered[definition]
        paths[definition] = min(path, paths.get(definition, path), key=functools.partial(_distance, definition))
    found: dict[str, list[PublicName]] = {}
    for definition, path in sorted(paths.items(), key=lambda item: (item[1].rpartition(".")[0], item[1].lower())):
        name = PublicName(path, definition, summary(definition))
        found.setdefault(".".join(definition.split(".")[:2]), []).append(name)
    return dict(sorted(found.items()))


def summary(definition: str) -> str:
    """Returns the first line of the docstring of a package, or of a class or function of a module."""
    if _file(definition):
        return (ast.get_docstring(_parse(definition)) or "").partition("\n")[0]
    module, _, name = definition.rpartition(".")
    for node in _parse(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ""
    raise ValueError(f"{module} is said to define {name}, and does not.")


def _offered(package: str) -> Iterator[tuple[str, str]]:
    """Pairs of the path and the definition of what a package offers by `lazy.exports` or by `__all__`."""
    values: dict = {"__name__": package}
    imported = {}
    for node in _parse(package).body:
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("lazy.exports("):
            for home, names in _value(node.value.args[1], values).items():
                module = home if home.startswith("tfface.") else f"{package}.{home}"
                yield from ((f"{package}.{name}", f"{module}.{name}") for name in names)
                # A module that stands there without names is public as it is.
                if not names and _file(module).name != "__init__.py":
                    yield from ((path, path) for path in _defined(module))
        elif isinstance(node, ast.Assign):
            values[ast.unparse(node.targets[0])] = _value(node.value, values)
    yield from ((f"{package}.{name}", imported[name]) for name in values.get("__all__", ()))


def _value(node: ast.expr, values: dict):
    """The value of an expression of our own sources: literals, names before it, and comprehensions of these."""
    return eval(compile(ast.Expression(node), "<__init__>", "eval"), values)


def _defined(module: str) -> list[str]:
    """Public functions and classes of a module."""
    nodes = [node for node in _parse(module).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [f"{module}.{node.name}" for node in nodes if not node.name.startswith("_")]


def _distance(definition: str, path: str) -> tuple[int, bool, str]:
    return path.count("."), not definition.startswith(path.rpartition(".")[0]), path


def _file(module: str) -> pathlib.Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((each for each in (path / "__init__.py", path.with_suffix(".py")) if each.is_file()), None)


@functools.cache
def _parse(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))
