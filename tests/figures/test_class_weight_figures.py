"""Figures of class weights against loops over all pairs of them."""

import itertools
import math

import numpy as np
import pytest

from tfface import evaluation
from tfface.figures import (
    ClassWeightCosines,
    NearestClassWeights,
    RandomDirections,
    class_weight_cosines,
    nearest_class_weights,
)

WEIGHTS = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    """Runs by name: "plain" has 30 classes, "sub" has 10 with three sub-centers each."""
    read = {"plain": (list(map(str, range(30))), WEIGHTS), "sub": (list(map(str, range(10))), WEIGHTS)}
    for module in (class_weight_cosines, nearest_class_weights):
        monkeypatch.setattr(module, "read_class_weights", read.__getitem__)


def cosine(one, other):
    product = sum(float(a) * float(b) for a, b in zip(WEIGHTS[one], WEIGHTS[other], strict=True))
    return product / math.dist(WEIGHTS[one], [0] * 4) / math.dist(WEIGHTS[other], [0] * 4)


def bars(axes):
    (patch,) = [patch for patch in axes.patches if patch.get_fill()]
    return patch.get_data()


def test_all_pairs_are_drawn():
    axes = ClassWeightCosines("plain").draw().axes[0]
    counts = np.zeros(200)
    for one, other in itertools.combinations(range(30), 2):
        counts[int((cosine(one, other) + 1) * 100)] += 1
    np.testing.assert_allclose(bars(axes).values, 100 * counts / (30 * 29 / 2))
    assert axes.get_legend().get_texts()[0].get_text().startswith("30 class weights: ")


def test_many_class_weights_are_drawn_at_random():
    figure = ClassWeightCosines(["plain", "sub"], classes=12, seed=3)
    assert [found.counts.sum() for found in figure.distributions] == [12 * 11 // 2] * 2
    assert figure.draw().axes[1].get_legend().get_texts()[0].get_text().startswith("12 of 30 class weights")
    assert ClassWeightCosines("plain", classes=12, seed=4).distributions[0].mean != figure.distributions[0].mean


def test_random_directions_have_the_line_beside_the_histogram():
    axes = ClassWeightCosines("plain").draw().axes[0]
    line = next(patch for patch in axes.patches if patch.get_linestyle() == "--").get_data()
    # In four dimensions the density of the cosine z is 2 / pi sqrt(1 - z^2).
    middles = (line.edges[1:] + line.edges[:-1]) / 2
    expected = 100 * 0.01 * 2 / np.pi * np.sqrt(1 - middles**2)
    np.testing.assert_allclose(line.values[1:-1], expected[1:-1], atol=2e-3)
    assert sum(line.values) == pytest.approx(100)


@pytest.mark.parametrize("run, size", [("plain", 1), ("sub", 3)])
def test_nearest_class_weights_are_of_other_classes(run, size):
    figure = NearestClassWeights(run)
    expected = []
    for one in range(30):
        others = [cosine(one, other) for other in range(30) if other // size != one // size]
        expected.append(math.degrees(math.acos(max(others))))
    np.testing.assert_allclose(figure.angles[0], expected, atol=1e-5)
    axes = figure.draw().axes[0]
    counts = np.zeros(180)
    for angle in expected:
        counts[int(angle)] += 1
    np.testing.assert_allclose(bars(axes).values, 100 * counts / 30)
    assert axes.get_lines()[0].get_xdata()[0] == evaluation.nearest_neighbour_angle(30, 4)


def test_expected_angles_are_those_of_equation_7():
    lines = RandomDirections(dims=[128, 512]).draw().axes[0].get_lines()
    for line, d in zip(lines, (128, 512), strict=True):
        n, angles = line.get_data()
        assert (n[0], n[-1]) == (10_000, 100_000_000)
        log = math.lgamma(d / 2) - math.log(2 * math.sqrt(math.pi) * (d - 1)) - math.lgamma((d - 1) / 2)
        expected = n ** (-2 / (d - 1)) * math.gamma(1 + 1 / (d - 1)) * math.exp(-log / (d - 1))
        np.testing.assert_allclose(angles, np.degrees(expected))
    closest, nearest = RandomDirections(dims=[8], smallest=10, largest=15, nearest=True).draw().axes[0].get_lines()
    assert nearest.get_ydata().tolist() == [evaluation.nearest_neighbour_angle(n, 8) for n in range(10, 16)]
    assert nearest.get_linestyle() != closest.get_linestyle()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ClassWeightCosines([]), "at least one path"),
        (lambda: ClassWeightCosines("plain", classes=1), "at least 2, got 1"),
        (lambda: RandomDirections(dims=[1]), "`dims` must be at least 2 each"),
        (lambda: RandomDirections(smallest=5, largest=5), "larger than `smallest`"),
        (lambda: evaluation.nearest_cosines(WEIGHTS, 4), "classes of 4 class weights are needed, got 30"),
        (lambda: evaluation.nearest_cosines(WEIGHTS, 30), "classes of 30 class weights are needed, got 30"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
