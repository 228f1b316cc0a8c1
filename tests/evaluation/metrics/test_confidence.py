"""Intervals against SciPy, against explicitly resampled pairs, and by their coverage of the true rate."""

import numpy as np
import pytest
from scipy.stats import binomtest
from score_oracles import operating_point

from tfface.evaluation import bootstrap_tar_at_far, wilson_interval


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_interval_is_scipys(confidence):
    for trials in (1, 2, 7, 100, 15_000):
        for successes in {0, 1, trials // 3, trials - 1, trials}:
            expected = binomtest(successes, trials).proportion_ci(confidence, "wilson")
            low, high = wilson_interval(successes / trials, trials, confidence)
            assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
            assert 0 <= low <= successes / trials <= high <= 1


def test_wilson_interval_of_the_not_measurable():
    assert np.isnan(wilson_interval(np.nan, 10)).all()


@pytest.mark.parametrize("arguments", [(1.1, 10), (-0.1, 10), (0.5, 0), (0.5, 10, 0), (0.5, 10, 1), (0.5, 10, np.nan)])
def test_wilson_interval_refuses(arguments):
    with pytest.raises(ValueError):
        wilson_interval(*arguments)


def _protocol(rng, people, each=2, spread=0.5):
    """Scores of all pairs; pairs of the same people correlate, because they share the ease of these people."""
    ease, wolf = spread * rng.normal(size=(2, people))
    genuine_people = np.repeat(np.arange(people), each)
    first, second = np.triu_indices(people, 1)
    genuine = 2 + ease[genuine_people] + 0.3 * rng.normal(size=genuine_people.size)
    impostor = wolf[first] + wolf[second] + 0.3 * rng.normal(size=first.size)
    return genuine, genuine_people, impostor, np.stack([first, second], axis=1)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_against_resampled_pairs(ties):
    rng = np.random.default_rng(ties)
    for seed in range(40):
        genuine, owners, impostor, sides = _protocol(rng, 7)
        if ties:
            genuine, impostor = np.round(genuine), np.round(impostor)
        fars, draws = (0.06, 0.3, 1.0), 15
        found = bootstrap_tar_at_far(genuine, owners, impostor, sides, fars, 0.8, draws, seed)
        sampler, tars = np.random.default_rng(seed), {far: [] for far in fars}
        for _ in range(draws):
            drawn = sampler.integers(7, size=7).tolist()
            left = [score for who in drawn for score, owner in zip(genuine, owners, strict=True) if owner == who]
            right = [
                s for a in drawn for b in drawn for s, (x, y) in zip(impostor, sides, strict=True) if (a, b) == (x, y)
            ]
            if not left or not right:
                continue
            for far in fars:
                # Too few impostors in a draw: none may pass.
                point = operating_point(left, right, far) or (np.mean(np.array(left) > max(right)),)
                tars[far].append(point[0])
        for far in fars:
            assert found[far] == pytest.approx(tuple(np.quantile(tars[far], [0.1, 0.9])))


def test_bootstrap_holds_the_truth_where_wilson_does_not():
    rng = np.random.default_rng(0)
    far, trials = 0.05, 150
    truth = np.mean([_tar(_protocol(rng, 300), far) for _ in range(20)])
    held = {"people": 0, "pairs": 0}
    for seed in range(trials):
        protocol = _protocol(rng, 40, each=8)
        low, high = bootstrap_tar_at_far(*protocol, [far], draws=150, seed=seed)[far]
        held["people"] += low <= truth <= high
        low, high = wilson_interval(_tar(protocol, far), 320)
        held["pairs"] += low <= truth <= high
    assert held["people"] / trials > 0.85
    assert held["pairs"] / trials < 0.75


def _tar(protocol, far):
    genuine, _, impostor, _ = protocol
    return np.mean(genuine > np.quantile(impostor, 1 - far))


def test_bootstrap_is_repeatable_and_knows_what_cannot_be_measured():
    protocol = _protocol(np.random.default_rng(0), 10)
    first, second = (bootstrap_tar_at_far(*protocol, [0.1, 0.001], draws=50) for _ in range(2))
    assert first[0.1] == second[0.1] and np.isnan(first[0.001]).all()
    # One person has no impostor in any draw.
    assert np.isnan(bootstrap_tar_at_far([1.0], ["a"], [0.0], [["a", "a"]], [1.0], draws=3)[1.0]).sum() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"genuine_people": [0]},
        {"impostor_people": [[0, 1, 2]]},
        {"genuine_scores": [1.0, np.nan]},
        {"impostor_scores": []},
        {"fars": [0.0]},
        {"confidence": 1},
        {"draws": 0},
    ],
)
def test_bootstrap_refuses(changes):
    arguments = {
        "genuine_scores": [1.0, 0.9],
        "genuine_people": [0, 1],
        "impostor_scores": [0.1],
        "impostor_people": [[0, 1]],
        "fars": [1.0],
    }
    bootstrap_tar_at_far(**arguments)
    with pytest.raises(ValueError):
        bootstrap_tar_at_far(**{**arguments, **changes})
