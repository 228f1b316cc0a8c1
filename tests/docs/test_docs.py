"""The pages of docs/ and README.md against the code: tables of parameters, calls that run, links."""

import ast
import inspect
import pathlib
import pkgutil
import re

import keras
import numpy as np
import pytest
from components import AROUND, HEADS

import tfface
from tfface import heads, losses
from tfface.losses.base import EmbeddingLoss

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Layers around a head have pages like theirs.
DOCUMENTED = [*HEADS, *AROUND]
PAGES = sorted({inspect.getmodule(getattr(heads, name)).__name__.rpartition(".")[2] for name in DOCUMENTED})
SECTIONS = ("## Equation", "## Call", "## Parameters", "## When to use it", "## Notes")


def _tables(text):
    """Rows of the Markdown tables of a text, by their first cell: name -> default."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]
    return {row[0].strip("` |"): row[1].strip() for row in rows if row[0].count("`") == 2}


def _parameters(layer):
    """Parameters of a constructor, by name, and those that it hands on to parents, without those of every layer."""
    common = (heads.ClassificationHead, EmbeddingLoss, keras.layers.Layer)
    found = {}
    for parent in layer.__mro__:
        if parent in common:
            return found
        if "__init__" in vars(parent):
            own = list(inspect.signature(parent).parameters.values())
            found = {p.name: p for p in own if p.kind is not p.VAR_KEYWORD} | found
    raise AssertionError(layer)


def _check_rows(layer, table):
    for name, parameter in _parameters(layer).items():
        assert name in table, f"{layer.__name__}: {name} is not in the table"
        if parameter.default is parameter.empty:
            assert table[name] == "required", name
        else:
            assert ast.literal_eval(table[name].strip("`")) == parameter.default, name


def _run(text, count):
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == count
    for snippet in snippets:
        names = {}
        exec(snippet, names)
        results = [value for name, value in names.items() if name in ("losses", "energy")]
        assert all(np.isfinite(result).all() and result.dtype == "float32" for result in results)
        yield results


@pytest.mark.parametrize("page", PAGES)
def test_page_of_a_head_is_complete_and_its_call_runs(page):
    text = (DOCS / "heads" / f"{page}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## .*", text, re.MULTILINE) == list(SECTIONS)
    title, paper = text.split("\n\n")[:2]
    of_page = [getattr(heads, name) for name in DOCUMENTED if getattr(heads, name).__module__ == f"tfface.heads.{page}"]
    assert title == "# " + " and ".join(sorted((head.__name__ for head in of_page), reverse=True))
    assert paper.startswith("**Paper.** ")
    table = _tables(text)
    for head in of_page:
        _check_rows(head, table)
    assert {*table} == {name for head in of_page for name in _parameters(head)}
    ((result,),) = _run(text, 1)
    assert result.shape == (8,)


def test_index_has_every_head_and_the_common_parameters():
    text = (DOCS / "heads" / "README.md").read_text(encoding="utf-8")
    linked = dict(re.findall(r"^\| \[(\w+)\]\((\w+)\.md\)", text, re.MULTILINE))
    assert linked == {name: getattr(heads, name).__module__.rpartition(".")[2] for name in DOCUMENTED}
    table = _tables(text)
    common = inspect.signature(heads.ClassificationHead).parameters
    for parameter in common.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            default = "required" if parameter.default is parameter.empty else f"`{parameter.default}`"
            assert table[parameter.name] == default


def test_every_loss_has_its_section_and_its_call_runs():
    text = (DOCS / "losses.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = {section.partition("\n")[0]: section for section in sections}
    assert {*sections} == {*losses.COMPONENTS}
    for name, section in sections.items():
        layer = getattr(losses, name)
        _check_rows(layer, _tables(section))
        assert {*_tables(section)} == {*_parameters(layer)}
        ((result,),) = _run(section, 1)
        assert result.shape == (() if name == "HypersphericalEnergy" else (8,))


def test_replacements_of_tensorflow_addons_exist():
    text = (DOCS / "addons.md").read_text(encoding="utf-8")
    list(_run(text, 1))
    names = set(re.findall(r"\b(?:keras|tfface)(?:\.[A-Za-z]\w*)+", text))
    assert {"keras.optimizers.AdamW", "tfface.optimizers.LAMB", "tfface.losses.TripletLoss"} <= names
    for name in names:
        value = {"keras": keras, "tfface": tfface}[name.split(".")[0]]
        for part in name.split(".")[1:]:
            value = getattr(value, part)


@pytest.mark.parametrize(
    "page", ["../README.md", *sorted(path.relative_to(DOCS) for path in DOCS.rglob("*.md"))], ids=str
)
def test_links_of_a_page_lead_somewhere(page):
    path = DOCS / page
    # A page may show a whole page of another folder as a block.
    text = re.sub(r"^(`{3,}).*?^\1$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, target


def _resolves(name):
    """Whether a dotted name is there: of a module, or in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_names_of_the_changelog_have_moved():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`tfface\..*?) \| (`tfface\..*?) \|$", text, re.MULTILINE)
    assert len(rows) > 15
    for row in rows:
        old, new = ([name.strip("`") for name in re.findall(r"`[\w.]+`", cell)] for cell in row)
        # A name without a path stands beside the one before it.
        for names in (old, new):
            for place, name in enumerate(names):
                if not name.startswith("tfface."):
                    names[place] = f"{names[place - 1].rpartition('.')[0]}.{name}"
        # Beam is not installed.
        assert [name for name in new if not _resolves(name) and ".beam." not in name] == []
        # Some modules became packages of the same name.
        assert [name for name in old if _resolves(name) and name not in ("tfface.data.images",)] == []


def test_docstrings_begin_with_what_they_are():
    """CONTRIBUTING.md asks for subjects and verbs; such a beginning has neither."""
    folders = ("benchmarks", "docs", "examples", "scripts", "tests", "tfface", "tfrecords_tools")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    begins = re.compile(r'"""(Of|What|Whose|By which|Where) ')
    assert len(paths) > 500
    assert [path for path in paths if begins.search(path.read_text(encoding="utf-8"))] == []
