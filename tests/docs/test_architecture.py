"""Pages for maintainers against the tree: every path and name in them exists, packages stand on their floors."""

import ast
import pathlib
import re

import pytest
from test_floors import FLOORS, LIBRARY

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("docs/architecture.md", "docs/robustness.md", "docs/extend/README.md", "CONTRIBUTING.md")
# `folder/`, `folder/file.py` or `folder/file.py:Class.method`, in folders of the repository.
_TOP = "tfface|tests|scripts|tfrecords_tools|benchmarks|examples|docs"
_PLACE = re.compile(rf"(?<![\w/.=-])((?:{_TOP})/[\w./-]*)(?::([\w.]+))?")


def places(text):
    """Pairs of a path and a name or "" in the code of a page, in single backquotes or in blocks."""
    return [
        match.groups("")
        for code in re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL)
        for match in _PLACE.finditer(code)
    ]


def names(path):
    """The names that a module defines, those of its classes as Class.name."""
    found = set()

    def visit(body, prefix):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(prefix + node.name)
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            for target in ast.walk(ast.Tuple([target for target in targets if isinstance(target, ast.AST)])):
                if isinstance(target, ast.Name):
                    found.add(prefix + target.id)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def missing(text):
    """The places of a text that do not exist."""
    found = []
    for path, name in places(text):
        exists = (ROOT / path).exists()
        if not exists or (name and name not in names(ROOT / path)):
            found.append(f"{path}:{name}" if name else path)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_place_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert places(text)
    assert missing(text) == []


def test_a_missing_place_is_found():
    text = "`tfface/gone.py`, `tfface/lazy.py:gone`, `tfface/lazy.py:exports`, `tfface/heads/arcface.py:ArcFace.gone`"
    assert missing(text) == ["tfface/gone.py", "tfface/lazy.py:gone", "tfface/heads/arcface.py:ArcFace.gone"]
    block = "```bash\npython -m pytest tests/gone.py\n```"
    assert missing(block) == ["tests/gone.py"]


def test_packages_stand_on_their_floors():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| \S", text, re.MULTILINE)
    stated = [tuple(package for number, package in rows if int(number) == floor + 1) for floor in range(len(FLOORS))]
    assert [set(packages) for packages in stated] == [set(packages) - {""} for packages in FLOORS]
    assert {package for _, package in rows} == {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
