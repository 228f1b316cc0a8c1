"""The curves of the heads against closed formulas, and the pages of docs/ against the code."""

import ast
import importlib.util
import inspect
import pathlib
import re

import keras
import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

import tfface
from tfface import heads, losses
from tfface.heads import curves
from tfface.losses.base import EmbeddingLoss

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HEADS = [name for name in heads.__all__ if name != "ClassificationHead"]
PAGES = sorted({inspect.getmodule(getattr(heads, name)).__name__.rpartition(".")[2] for name in HEADS})
SECTIONS = ("## Equation", "## Call", "## Parameters", "## When to use it", "## Notes")


def _line(axes, label):
    (line,) = (line for line in axes.get_lines() if line.get_label().partition(" (")[0] == label)
    return line.get_data()


def test_target_logits_are_those_of_arcface_figure_4():
    axes = curves.plot_target_logits().axes[0]
    expected = {
        "NormSoftmax": lambda a: np.cos(a),
        "SphereFace": lambda a: np.cos(1.35 * a),
        "CosFace": lambda a: np.cos(a) - 0.35,
        "ArcFace": lambda a: np.cos(a + 0.5),
        "CM1": lambda a: np.cos(a + 0.3) - 0.2,
        "CM2": lambda a: np.cos(0.9 * a + 0.4) - 0.15,
    }
    assert len(axes.get_lines()) == len(expected)
    for label, logit in expected.items():
        degrees, values = _line(axes, label)
        assert (degrees[0], degrees[-1]) == (20, 100)
        np.testing.assert_allclose(values, 64 * logit(np.radians(degrees)), atol=1e-3)


def test_sphereface2_losses_are_those_of_its_figure_3():
    softmax, binary, margins = curves.plot_sphereface2_losses().axes
    for scale in (1, 4, 10, 30, 64):
        z, values = (axis.astype(np.float64) for axis in _line(softmax, f"s = {scale}"))
        others = 3 * np.exp(scale * 0.2)
        np.testing.assert_allclose(values, -np.log(np.exp(scale * z) / (np.exp(scale * z) + others)), atol=2e-5)
        z, values = (axis.astype(np.float64) for axis in _line(binary, f"r = {scale}"))
        np.testing.assert_allclose(values, np.log1p(np.exp(-scale * z)) / scale, atol=1e-5)
    for margin in (0, 0.2, 0.4):
        for label, sign in (("own", -1), ("other", 1)):
            degrees, values = _line(margins, f"{label} class, m = {margin:g}")
            expected = np.log1p(np.exp(30 * (sign * np.cos(np.radians(degrees)) + margin))) / 30
            np.testing.assert_allclose(values, expected, atol=1e-5)
    boundaries = [line.get_xdata()[0] for line in margins.get_lines() if line.get_marker() == "o"]
    cosines = [0, 0, 0.2, -0.2, 0.4, -0.4]
    np.testing.assert_allclose(boundaries, np.degrees(np.arccos(cosines)), atol=0.01)


def test_similarity_adjustment_is_that_of_sphereface2_equation_5():
    by_cosine, by_angle = curves.plot_similarity_adjustment().axes
    for t in range(1, 6):
        for axes, cosine in ((by_cosine, lambda x: x), (by_angle, lambda x: np.cos(np.radians(x)))):
            x, values = _line(axes, f"t = {t}")
            np.testing.assert_allclose(values, 2 * ((cosine(x) + 1) / 2) ** t - 1, atol=1e-6)


def test_intra_class_terminations_are_those_of_dsoftmax_equation_5():
    expected = {  # where s·ψ(t) = log M = 0.4·s
        "Softmax": 0.4,
        "SphereFace (1.35)": np.cos(np.arccos(0.4) / 1.35),
        "CosFace (0.35)": 0.75,
        "ArcFace (0.5)": np.cos(np.arccos(0.4) - 0.5),
        "D-Softmax (0.9)": 0.9,
    }
    for name, head in curves.dissected_heads().items():
        assert curves.intra_termination(head, 64 * 0.4) == pytest.approx(expected[name], abs=2e-4)
    assert np.isnan(curves.intra_termination(heads.CosFace(2), 64 * 0.7))
    first = curves.plot_dsoftmax_intra().axes[0]
    z, values = _line(first, "log M = 0.3·s")
    np.testing.assert_allclose(values, np.logaddexp(0, 64 * (0.3 - z.astype(np.float64))) / 64, atol=1e-6)


def test_inter_class_terminations_are_those_of_dsoftmax_equation_8():
    first, second = curves.plot_dsoftmax_inter().axes
    z, ends = _line(second, "ArcFace")
    psi = np.cos(np.arccos(z.astype(np.float64)) + 0.5)
    shown = z > -0.85  # before the overflow of the margin
    np.testing.assert_allclose(ends[shown], (np.logaddexp(64 * psi, 64 * 0.3) / 64)[shown], atol=2e-4)
    for label, flat in (("Softmax", False), ("D-Softmax", True)):
        assert (np.ptp(_line(second, label)[1]) < 1e-5) == flat
    z, values = _line(first, "z_y = 0.6")
    expected = np.logaddexp(64 * z.astype(np.float64), np.logaddexp(64 * 0.6, 64 * 0.3)) / 64 - 0.6
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_script_writes_the_pictures(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("plot_heads", ROOT / "scripts" / "plot_heads.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with flagsaver.as_parsed(output=str(tmp_path / "new")):
        script.main()
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == sorted(f"{name}.png" for name in curves.PLOTS)
    assert capsys.readouterr().out.count("Wrote ") == len(written)
    assert written == sorted(path.name for path in (DOCS / "heads" / "curves").iterdir())
    pages = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "heads").glob("*.md"))
    for name in written:
        path = tmp_path / "new" / name
        assert f"curves/{name}" in pages
        assert path.stat().st_size < 80_000
        with Image.open(path) as picture:
            assert picture.width >= 700
            assert len(picture.convert("RGB").getcolors(1_000_000)) > 50


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
    of_page = [getattr(heads, name) for name in HEADS if getattr(heads, name).__module__ == f"tfface.heads.{page}"]
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
    assert linked == {name: getattr(heads, name).__module__.rpartition(".")[2] for name in HEADS}
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
    assert {*sections} == {*losses.__all__}
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
    assert {"keras.optimizers.AdamW", "tfface.training.LAMB", "tfface.losses.TripletLoss"} <= names
    for name in names:
        value = {"keras": keras, "tfface": tfface}[name.split(".")[0]]
        for part in name.split(".")[1:]:
            value = getattr(value, part)


@pytest.mark.parametrize(
    "page", ["../README.md", *sorted(path.relative_to(DOCS) for path in DOCS.rglob("*.md"))], ids=str
)
def test_links_of_a_page_lead_somewhere(page):
    path = DOCS / page
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, target
