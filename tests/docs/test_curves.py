"""The curves of the heads against closed formulas."""

import importlib.util
import pathlib

import curves
import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from tfface import heads

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


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
    spec = importlib.util.spec_from_file_location("plot_heads", ROOT / "docs" / "tools" / "plot_heads.py")
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
