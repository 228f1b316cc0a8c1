"""The order of the library's packages: each imports only what lies below it, and no import goes in a circle."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "tfface"

# From the top. Packages of one floor may import each other as long as there is no circle.
FLOORS = (
    ("cli",),
    ("jobs",),
    ("config", "figures"),
    ("training", "export"),
    ("heads",),
    ("classifier", "losses"),
    ("optimizers", "distribute", "backbones", "protocols"),
    ("data",),
    ("evaluation", "serving"),
    ("",),  # The modules at the top of the library: small helpers.
)
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}
MOST_MODULES, LARGEST_MEDIAN = 16, 6000
ONE_FILE_PER_COMPONENT = {"backbones", "heads", "losses"}


def imports(library):
    """Reads every import, inside of functions too: dict from module, `tfface.x.y`, to the modules that it imports."""
    paths = {path: path.relative_to(library.parent).with_suffix("") for path in sorted(library.rglob("*.py"))}
    names = {path: ".".join(name.parts).removesuffix(".__init__") for path, name in paths.items()}
    modules = set(names.values())
    found = {}
    for path, module in names.items():
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: relative imports hide the package that they name"
                # `from package import module` imports the module, other names are in the package itself.
                submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules
                targets |= submodules or {node.module}
        found[module] = {target for target in targets if target in modules and target != module}
    return found


def package(module):
    """The package of a module below `tfface`; "" for the helpers beside them."""
    if module == "tfface.__main__":  # `python -m tfface` is a program.
        return "cli"
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else ""


def upward(found):
    """The imports that lead to a higher floor, as text."""
    return [
        f"{module} imports {target}"
        for module, targets in found.items()
        for target in targets
        # `import tfface` reads the version; its own table of packages is lazy.
        if target != "tfface" and module != "tfface" and FLOOR[package(target)] < FLOOR[package(module)]
    ]


def circle(graph):
    """A circle of a graph, dict from node to set of nodes, as a list; empty if there is none."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        path.append(node)
        for target in sorted(graph.get(node, ())):
            if among := visit(target):
                return among
        done.add(path.pop())
        return []

    return next(filter(None, map(visit, sorted(graph))), [])


def packages(found, depth):
    """The graph of packages, named by `depth` parts at most; modules at the top are their own nodes."""

    def node(module):
        parts = module.split(".")
        return ".".join(parts[:depth]) if len(parts) > depth else module

    graph = {}
    for module, targets in found.items():
        graph.setdefault(node(module), set()).update({node(target) for target in targets} - {node(module)})
    return graph


@pytest.fixture(scope="module")
def found():
    return imports(LIBRARY)


def test_every_package_has_its_floor():
    assert {path.parent.name for path in LIBRARY.glob("*/__init__.py")} == set(FLOOR) - {""}


def test_imports_lead_downwards(found):
    assert upward(found) == []


def test_modules_import_in_no_circle(found):
    # A package that reads its version from `tfface`, or its public names from itself, is no circle: both are lazy.
    assert circle({module: targets - {"tfface"} for module, targets in found.items() if module != "tfface"}) == []


def test_packages_import_in_no_circle(found):
    graph = packages({module: targets - {"tfface"} for module, targets in found.items() if module != "tfface"}, depth=2)
    assert circle(graph) == []


@pytest.mark.parametrize("parent", ["data", "evaluation", "export", "training"])
def test_folders_of_a_package_import_in_no_circle(found, parent):
    inside = f"tfface.{parent}."
    graph = {m: {t for t in targets if t.startswith(inside)} for m, targets in found.items() if m.startswith(inside)}
    assert graph
    assert circle(packages(graph, depth=3)) == []


@pytest.mark.parametrize(
    "line",
    ["from tfface.heads import ArcFace", "import tfface.jobs.training", "def f():\n    from tfface import config"],
)
def test_a_planted_import_is_found(tmp_path, line):
    for name in ("", "heads", "config", "data", "jobs"):
        (tmp_path / "tfface" / name).mkdir(exist_ok=True)
        (tmp_path / "tfface" / name / "__init__.py").touch()
    (tmp_path / "tfface" / "jobs" / "training.py").touch()
    planted = tmp_path / "tfface" / "data" / "records.py"
    planted.write_text("from tfface import files\n")
    assert upward(imports(tmp_path / "tfface")) == []
    planted.write_text(f"{line}\n")
    assert len(upward(imports(tmp_path / "tfface"))) == 1


def test_a_planted_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_folders_stay_small():
    sizes = []
    for folder in [LIBRARY, *(path for path in LIBRARY.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        sizes += [path.stat().st_size for path in modules]
        if folder.name not in ONE_FILE_PER_COMPONENT:
            assert len(modules) <= MOST_MODULES, f"{folder} has {len(modules)} modules"
    assert sorted(sizes)[len(sizes) // 2] <= LARGEST_MEDIAN


# A finder before all others stands for an environment without TensorFlow.
WITHOUT_TENSORFLOW = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Absent())
from importlib import metadata

def absent(name, version=metadata.version):
    if name.startswith(("tensorflow", "tf-nightly", "keras")):
        raise metadata.PackageNotFoundError(name)
    return version(name)

metadata.version = absent
"""


def run_without_tensorflow(code):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_needs_no_tensorflow_works_without(found):
    needed = [m for m in found if m.startswith(("tfface.evaluation", "tfface.data.formats", "tfface.data.protocols"))]
    needed += ["tfface.serving.rest", "tfface.serving.client", "tfface.config.train_flags"]
    needed += [f"tfface.data.sources.{name}" for name in ("folders", "zip_folders", "image_lists", "recordio_source")]
    assert len(needed) > 40
    code = f"""
for module in {needed!r}:
    importlib.import_module(module)
import numpy as np
from tfface import evaluation, serving
print(evaluation.kfold_accuracy, serving.Client, sorted({{"tensorflow", "keras"}} & sys.modules.keys()))
"""
    assert run_without_tensorflow(code).endswith("[]\n")


@pytest.mark.parametrize(
    "use", ["tfface.FaceModel", "tfface.heads.ArcFace", "tfface.data.train_dataset", "tfface.export.saved_model"]
)
def test_what_needs_tensorflow_says_so(use):
    code = f"""
import tfface
try:
    {use}
except ImportError as error:
    print(error)
"""
    assert run_without_tensorflow(code).startswith("tfface needs TensorFlow >= 2.18: install `tfface[cpu]`")


def test_an_old_tensorflow_is_refused():
    code = """
metadata.version = {"tensorflow": "2.15.1", "keras": "3.8.0"}.get
import tfface
try:
    tfface.heads.ArcFace
except ImportError as error:
    print(error)
"""
    assert run_without_tensorflow(code).startswith("tfface needs tensorflow >= 2.18, found 2.15.1.")
