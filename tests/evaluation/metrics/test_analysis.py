"""Angles, cosines of class weights and drift, each against loops or a closed form."""

import math

import numpy as np
import pytest

from tfface.evaluation.metrics import angles, drift, random_directions, weight_cosines
from tfface.evaluation.reports import toy_plot


def angle(a, b):
    a, b = np.float64(a), np.float64(b)
    return math.degrees(math.acos(max(-1.0, min(1.0, sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))))))


def nearest(vectors):
    return [min(angle(a, b) for j, b in enumerate(vectors) if j != i) for i, a in enumerate(vectors)]


@pytest.mark.parametrize("seed", range(20))
def test_angle_statistics_against_loops(seed, monkeypatch):
    monkeypatch.setattr(angles, "_BLOCK_VALUES", 64)
    rng = np.random.default_rng(seed)
    classes, dim = int(rng.integers(3, 12)), int(rng.integers(2, 9))
    labels = rng.permutation(np.append(np.arange(2), rng.integers(0, classes, 40)))
    embeddings = rng.normal(size=(42, dim)) * 10 ** rng.uniform(-3, 3, (42, 1))
    weights = rng.normal(size=(classes, dim)).astype(np.float32)
    centres = {
        label: sum(row / math.sqrt(sum(row * row)) for row in embeddings[labels == label]) for label in set(labels)
    }
    expected = (
        np.mean([angle(weights[label], centre) for label, centre in centres.items()]),
        np.mean(nearest(weights)),
        np.mean([angle(row, centres[label]) for row, label in zip(embeddings, labels, strict=True)]),
        np.mean(nearest(list(centres.values()))),
    )
    np.testing.assert_allclose(angles.angle_statistics(embeddings, labels, weights), expected, rtol=1e-6)
    np.testing.assert_allclose(angles.angle_statistics(embeddings, labels)[2:], expected[2:], rtol=1e-6)


def test_small_angles_keep_their_digits():
    tiny = 1e-9
    near = angles.nearest_angles(np.array([[1.0, 0.0], [1.0, tiny], [-1.0, 0.0]]))
    np.testing.assert_allclose(near, [math.degrees(tiny), math.degrees(tiny), 180 - math.degrees(tiny)], rtol=1e-7)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [0, 0, 0, 0]}, "at least 2 classes"),
        ({"labels": [0, 1, 1]}, r"`labels` must be int \[4\]"),
        ({"labels": [0.0, 0.0, 1.0, 1.0]}, "float64"),
        ({"labels": [0, 0, 1, 2]}, r"`class_weights` must be \[more than 2, 2\]"),
        ({"labels": [-1, 0, 1, 1]}, "labels from -1"),
        ({"embeddings": [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]}, "`embeddings` must be finite.*0.0 in row 1"),
        ({"embeddings": [[1.0, 0.0], [0.0, np.nan], [0.0, 1.0], [0.0, 1.0]]}, "length nan in row 1"),
        ({"embeddings": [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]}, "`centres of the classes` must be finite"),
        ({"class_weights": [[0.0, 0.0], [1.0, 1.0]]}, "`class_weights` must be finite.*row 0"),
        ({"class_weights": [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]}, r"got \(2, 3\)"),
    ],
)
def test_angle_statistics_refuse_bad_input(change, message):
    good = {
        "embeddings": [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]],
        "labels": [0, 0, 1, 1],
        "class_weights": [[1.0, 0.0], [0.0, 1.0]],
    }
    with pytest.raises(ValueError, match=message):
        angles.angle_statistics(**{name: np.array(value) for name, value in {**good, **change}.items()})


@pytest.mark.parametrize("count", [2, 5, 100])
def test_nearest_neighbour_angle_has_closed_forms_on_circle_and_sphere(count):
    # On a circle the integral of (1 - t / pi)^(n - 1), on a sphere that of cos(t / 2)^(2 n - 2).
    assert random_directions.nearest_neighbour_angle(count, 2) == pytest.approx(180 / count, rel=1e-6)
    sphere = 180 * math.comb(2 * count - 2, count - 1) / 4 ** (count - 1)
    assert random_directions.nearest_neighbour_angle(count, 3) == pytest.approx(sphere, rel=1e-6)


@pytest.mark.parametrize("count, dim", [(50, 4), (200, 16), (400, 128)])
def test_nearest_neighbour_angle_is_the_mean_of_random_directions(count, dim):
    rng = np.random.default_rng(dim)
    drawn = [np.mean(nearest_fast(rng.normal(size=(count, dim)))) for _ in range(30)]
    error = np.std(drawn) / math.sqrt(len(drawn))
    assert abs(np.mean(drawn) - random_directions.nearest_neighbour_angle(count, dim)) < 4 * error


def nearest_fast(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T - 3 * np.eye(len(unit))
    return np.degrees(np.arccos(cosines.max(axis=1)))


@pytest.mark.parametrize("count, dim", [(1000, 2), (1000, 3), (1000, 4)])
def test_equation_7_is_the_smallest_of_all_angles(count, dim):
    rng = np.random.default_rng(dim)
    drawn = [np.min(nearest_fast(rng.normal(size=(count, dim)))) for _ in range(120)]
    error = np.std(drawn) / math.sqrt(len(drawn))
    assert abs(np.mean(drawn) - random_directions.closest_pair_angle(count, dim)) < 4 * error


def test_equation_7_as_printed():
    for count, dim in ((10_000, 128), (85_000, 256), (10**8, 300)):
        ratio = math.gamma(dim / 2) / (2 * math.sqrt(math.pi) * (dim - 1) * math.gamma((dim - 1) / 2))
        printed = count ** (-2 / (dim - 1)) * math.gamma(1 + 1 / (dim - 1)) * ratio ** (-1 / (dim - 1))
        assert random_directions.closest_pair_angle(count, dim) == pytest.approx(math.degrees(printed), rel=1e-12)


@pytest.mark.parametrize("function", [random_directions.closest_pair_angle, random_directions.nearest_neighbour_angle])
@pytest.mark.parametrize("count, dim", [(1, 3), (3, 1)])
def test_random_directions_refuse_small_numbers(function, count, dim):
    with pytest.raises(ValueError, match=f"got {count} and {dim}"):
        function(count, dim)


@pytest.mark.parametrize("block", [1, 64, 1 << 24])
def test_pairwise_cosines_against_loops(monkeypatch, block):
    monkeypatch.setattr(weight_cosines, "_BLOCK_VALUES", block)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(31, 5)) * 10 ** rng.uniform(-3, 3, (31, 1))
    weights[7] = 2 * weights[3]
    weights[9] = -weights[3]
    found = weight_cosines.pairwise_cosines(weights, bins=20)
    unit = [row / math.sqrt(sum(row * row)) for row in weights]
    cosines = [min(1.0, max(-1.0, sum(unit[i] * unit[j]))) for i in range(31) for j in range(i)]
    counts = [0] * 20
    for cosine in cosines:
        counts[min(19, int((cosine + 1) * 10))] += 1
    assert found.counts.tolist() == counts
    assert found.edges.tolist() == np.linspace(-1, 1, 21).tolist()
    assert found.mean == pytest.approx(np.mean(cosines), abs=1e-12)
    assert found.std == pytest.approx(np.std(cosines), abs=1e-12)


def test_drift_against_loops():
    rng = np.random.default_rng(0)
    embeddings, weights = np.cumsum(rng.normal(size=(2, 6, 10, 4)), axis=1)
    plain, compensated = [], []
    for t in range(6):
        errors = []
        for i in range(10):
            now, past, old, new = embeddings[-1, i], embeddings[t, i], weights[t, i], weights[-1, i]
            moved = past + np.sqrt(past @ past) / np.sqrt(old @ old) * (new - old)
            errors.append([1 - v @ now / np.sqrt((v @ v) * (now @ now)) for v in (past, moved)])
        plain.append(np.mean([error[0] for error in errors]))
        compensated.append(np.mean([error[1] for error in errors]))
    np.testing.assert_allclose(drift.embedding_drift(embeddings), plain, atol=1e-12)
    np.testing.assert_allclose(drift.embedding_drift(embeddings, weights), compensated, atol=1e-12)


def test_compensation_undoes_a_movement_of_the_whole_class():
    rng = np.random.default_rng(0)
    weights, away = rng.normal(size=(2, 8, 4))
    # Embeddings that sit on their class weights move along with them.
    history = np.stack([3 * weights, 3 * (weights + away)])
    moved = np.stack([weights, weights + away])
    assert drift.embedding_drift(history)[0] > 0.1
    np.testing.assert_allclose(drift.embedding_drift(history, moved), 0, atol=1e-12)


@pytest.mark.parametrize(
    "embeddings, weights, message",
    [
        (np.ones((3, 4)), None, r"\[T, N, D\], got \(3, 4\)"),
        (np.ones((2, 3, 4)), np.ones((2, 3, 5)), r"must be \(2, 3, 4\), got \(2, 3, 5\)"),
        (np.zeros((2, 3, 4)), None, "not zero"),
        (np.ones((2, 3, 4)), np.zeros((2, 3, 4)), "`old_weights` must be finite and not zero"),
    ],
)
def test_drift_refuses_bad_input(embeddings, weights, message):
    with pytest.raises(ValueError, match=message):
        drift.embedding_drift(embeddings, weights)


@pytest.mark.parametrize("dim", [2, 3])
def test_toy_picture_shows_every_class_in_its_own_colour(tmp_path, dim):
    from PIL import Image

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 30)
    weights = rng.normal(size=(6, dim))
    embeddings = weights[labels] + 0.05 * rng.normal(size=(180, dim))
    toy_plot.plot_embeddings(embeddings, labels, tmp_path / "toy.png", weights, "costs $5 to $x")
    with Image.open(tmp_path / "toy.png") as picture:
        hues = np.asarray(picture.convert("HSV")).reshape(-1, 3)
    # Saturated pixels fall on the hues of six classes; the axes are grey.
    hues = hues[hues[:, 1] > 120][:, 0]
    assert len(np.unique(hues // 8)) >= 5


@pytest.mark.parametrize(
    "change, message",
    [
        ({"embeddings": np.ones((3, 4))}, r"\[N, 2\] or \[N, 3\], got \(3, 4\)"),
        ({"embeddings": np.full((3, 2), np.nan)}, "finite"),
        ({"labels": np.arange(2)}, r"`labels` must be int or str \[3\]"),
        ({"class_weights": np.ones((2, 2))}, "more than 2, 2"),
        ({"class_weights": np.zeros((3, 2))}, "not zero"),
        ({"labels": ["a", "b", "c"]}, "integer label, got labels of type str"),
    ],
)
def test_toy_picture_refuses_bad_input(tmp_path, change, message):
    arguments = {"embeddings": np.ones((3, 2)), "labels": np.arange(3), "class_weights": np.ones((3, 2)), **change}
    with pytest.raises(ValueError, match=message):
        toy_plot.plot_embeddings(path=tmp_path / "toy.png", **arguments)
    assert not list(tmp_path.iterdir())


def test_toy_picture_is_a_figure_and_takes_names():
    embeddings = np.random.default_rng(0).normal(size=(6, 2))
    names = np.array(["b", "a", "b", "c", "a", "b"], object)
    figures = [toy_plot.plot_embeddings(embeddings, labels) for labels in (names, [1, 0, 1, 2, 0, 1])]
    dots = [[dots.get_offsets().data.tolist() for dots in figure.axes[0].collections] for figure in figures]
    assert dots[0] == dots[1] and [len(each) for each in dots[0]] == [2, 3, 1]
