"""t-SNE against its definition."""

import numpy as np
import pytest

from tfface.evaluation.reports.tsne import affinities, divergence_gradient, tsne


def divergence(wanted, places):
    """Kullback-Leibler divergence by loops."""
    kernel = [
        [0 if i == j else 1 / (1 + sum((a - b) ** 2)) for j, b in enumerate(places)] for i, a in enumerate(places)
    ]
    total = sum(map(sum, kernel))
    return sum(
        wanted[i, j] * np.log(wanted[i, j] / (kernel[i][j] / total))
        for i in range(len(places))
        for j in range(len(places))
        if i != j
    )


def test_the_gradient_is_that_of_the_divergence():
    rng = np.random.default_rng(0)
    wanted, places = affinities(rng.normal(size=(7, 4)), 2.0), rng.normal(size=(7, 2))
    gradient = divergence_gradient(wanted, places)
    for at in np.ndindex(7, 2):
        step = np.zeros((7, 2))
        step[at] = 1e-5
        numeric = (divergence(wanted, places + step) - divergence(wanted, places - step)) / 2e-5
        assert gradient[at] == pytest.approx(numeric, abs=1e-7)


def test_affinities_have_the_perplexity_and_fall_with_the_distance():
    points = np.random.default_rng(1).normal(size=(30, 6))
    joint = affinities(points, 8.0)
    assert joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(joint, joint.T)
    assert (np.diagonal(joint) == 0).all()
    # Points of a regular polygon see the same neighbourhood, so that the conditional is the joint probability times N.
    turns = 2 * np.pi * np.arange(24) / 24
    shares = 24 * affinities(np.stack([np.cos(turns), np.sin(turns)], axis=1), 6.0)
    for row in np.where(np.eye(24, dtype=bool), 1, shares):
        assert np.exp(-np.sum(row * np.log(row))) == pytest.approx(6.0)
    assert (np.diff(shares[0, 1:13]) < 0).all()


def test_clusters_stay_apart_and_the_picture_is_the_same_again():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), 15)
    points = 8 * np.eye(3, 10)[labels] + rng.normal(size=(45, 10))
    places = tsne(points, perplexity=8, steps=400)
    distances = np.linalg.norm(places[:, None] - places, axis=2) + np.where(np.eye(45, dtype=bool), np.inf, 0)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    np.testing.assert_array_equal(places, tsne(points, perplexity=8, steps=400))


def test_equal_points_and_points_of_a_line_can_be_placed():
    assert np.isfinite(tsne(np.ones((5, 3)), steps=20)).all()
    assert np.isfinite(tsne(np.arange(6.0)[:, None], steps=20)).all()


@pytest.mark.parametrize(
    "points, options", [(np.zeros((3, 2)), {}), (np.full((5, 2), np.nan), {}), (np.eye(5), {"perplexity": 1})]
)
def test_what_cannot_be_placed_is_refused(points, options):
    with pytest.raises(ValueError, match="must be"):
        tsne(points, **options)
