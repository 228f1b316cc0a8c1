"""The picture of a report: the data of its curves and bars, not their looks."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tfface.data.protocols.pair_lists import Pairs
from tfface.evaluation import cmc_figure, histogram_figure, plot_report, roc_figure, to_svg, verify
from tfface.evaluation.reports import plots


def _result(name="toy", pairs=600, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(pairs + 1, 8))
    first, second = people + noise * rng.normal(size=(2, pairs + 1, 8))
    keys = [f"{side}{number}" for side in "ab" for number in range(pairs + 1)]
    same = np.arange(pairs) % 2 == 0
    right = [f"b{number + (not genuine)}" for number, genuine in enumerate(same)]
    protocol = Pairs(keys[:pairs], right, same, np.arange(pairs) * 5 // pairs)
    return verify(np.concatenate([first, second]), keys, protocol, name, fars=(0.1, 0.01, 1e-4))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_picture_is_written_whole(tmp_path, count):
    path = tmp_path / "new" / "report.png"
    plot_report((_result(f"protocol {number}", seed=number) for number in range(count)), path, "title")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.png"]
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > 1200 and picture.height > 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_roc_shows_measured_rates_only():
    results = [_result("before"), _result("after", pairs=200, noise=0.5, seed=1)]
    axes = Figure().add_subplot()
    plots._draw_roc(axes, results)
    assert axes.get_xscale() == "log"
    for result, curve, dots in zip(results, axes.get_lines()[::2], axes.get_lines()[1::2], strict=True):
        far, tar = curve.get_data()
        impostors = len(result.impostor_scores)
        assert curve.get_drawstyle() == "steps-post"
        assert (far[0], far[-1], tar[-1]) == (pytest.approx(1 / impostors), pytest.approx(1), 1)
        for at in range(0, 500, 7):
            allowed = int(far[at] * impostors + 1e-9)
            threshold = np.sort(result.impostor_scores)[::-1][allowed:][:1]
            assert tar[at] == np.mean(result.genuine_scores > (threshold if threshold.size else -2))
        # A FAR of 1e-4 cannot be measured with so few impostors and gets no dot.
        expected = {far: point.tar for far, point in result.tar_at_far.items() if far >= 1 / impostors}
        assert dict(zip(*dots.get_data(), strict=True)) == expected
        assert len(expected) == 2
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0].startswith(f"before: accuracy {100 * results[0].accuracy.mean:.2f} ± ")
    low, high = axes.get_ylim()
    assert low < min(curve.get_ydata()[0] for curve in axes.get_lines()[::2]) and high > 1


def test_histograms_hold_every_pair():
    results = [_result("before"), dataclasses.replace(_result("after"), threshold=np.inf)]
    panels = Figure().subplots(2)
    plots._draw_histograms(panels, results)
    for axes, result in zip(panels, results, strict=True):
        filled = [patch for patch in axes.patches if patch.get_fill()]
        for patch, scores in zip(filled, (result.impostor_scores, result.genuine_scores), strict=True):
            values, edges, _ = patch.get_data()
            assert sum(values) == pytest.approx(100)
            assert np.dot(values / 100, (edges[1:] + edges[:-1]) / 2) == pytest.approx(scores.mean(), abs=0.02)
        assert len(axes.get_lines()) == np.isfinite(result.threshold)
    assert panels[0].get_lines()[0].get_xdata()[0] == results[0].threshold
    assert panels[0].get_xlim() == panels[1].get_xlim()


@pytest.mark.parametrize("score", [1.0, np.nextafter(1.0, 0)])
def test_collapsed_model_can_be_drawn(tmp_path, score):
    collapsed = dataclasses.replace(_result(), genuine_scores=np.ones(4), impostor_scores=np.full(3, score))
    axes = Figure().add_subplot()
    plots._draw_histograms([axes], [collapsed])
    edges = axes.patches[0].get_data().edges
    assert np.diff(edges).min() > 1e-4
    assert edges[0] < score <= 1 < edges[-1]
    plot_report([collapsed], tmp_path / "report.png", "title")
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_perfect_model_with_one_impostor_can_be_drawn(tmp_path):
    perfect = dataclasses.replace(_result(), genuine_scores=np.ones(4), impostor_scores=np.zeros(1))
    plot_report([perfect], tmp_path / "report.png", "title")
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_results_look_different_beyond_the_palette():
    axes = Figure().add_subplot()
    result = _result()
    plots._draw_roc(axes, [result] * 12)
    looks = [(curve.get_color(), curve.get_linestyle()) for curve in axes.get_lines()[::2]]
    styles = {(handle.get_color(), str(handle._dash_pattern)) for handle in axes.get_lines()[::2]}
    assert len(looks) == len(styles) == 12


def test_no_results_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        plot_report([], tmp_path / "report.png", "title")
    assert not list(tmp_path.iterdir())


def test_angle_histograms_hold_every_pair():
    result = _result()
    panel = Figure().add_subplot()
    plots._draw_histograms([panel], [result], degrees=True)
    angles = [np.degrees(np.arccos(scores)) for scores in (result.impostor_scores, result.genuine_scores)]
    for patch, expected in zip([patch for patch in panel.patches if patch.get_fill()], angles, strict=True):
        values, edges, _ = patch.get_data()
        assert sum(values) == pytest.approx(100)
        assert np.dot(values / 100, (edges[1:] + edges[:-1]) / 2) == pytest.approx(expected.mean(), abs=1)
    assert panel.get_lines()[0].get_xdata()[0] == pytest.approx(np.degrees(np.arccos(result.threshold)))


def test_cmc_shows_every_rate():
    figure = cmc_figure({"a": [0.5, 0.75, 1.0], "$b$": np.array([0.25, 0.5])})
    curves = [line.get_data() for line in figure.axes[0].get_lines()]
    np.testing.assert_array_equal(np.concatenate(curves, axis=1), [[1, 2, 3, 1, 2], [0.5, 0.75, 1, 0.25, 0.5]])
    assert len(cmc_figure({"a": [1.0]}).axes[0].get_lines()) == 1
    with pytest.raises(ValueError, match="got none"):
        cmc_figure({})


@pytest.mark.parametrize("name", ["costs $5 or $\\frac", "<b>&amp;"])
def test_names_are_text_not_formulas(tmp_path, name):
    result = _result(name)
    for figure in (roc_figure([result]), histogram_figure([result]), cmc_figure({name: [1.0], "b": [0.5]})):
        picture = to_svg(figure)
        assert picture.startswith(b"<?xml") and b"<b>" not in picture
    plot_report([result], tmp_path / "report.png", name)
    assert (tmp_path / "report.png").is_file()


def test_same_figure_gives_the_same_svg():
    assert to_svg(roc_figure([_result()])) == to_svg(roc_figure([_result()]))
