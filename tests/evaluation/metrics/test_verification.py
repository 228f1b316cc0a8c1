"""Verification metrics against slow loops that follow the definitions word by word."""

import bisect
from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics

from tfface.evaluation import (
    area_under_curve,
    best_threshold,
    combined_accuracy,
    equal_error_rate,
    kfold_accuracy,
    roc,
    tar_at_far,
)


def _random_scores(rng, size):
    """Scores of one of four kinds: few different values, all equal, neighbouring floats, continuous."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(-2, 3, size) / 4
    if kind == 1:
        return np.full(size, rng.normal())
    if kind == 2:
        return np.array([0.3, np.nextafter(0.3, 1), np.nextafter(0.3, 0)])[rng.integers(3, size=size)]
    return rng.normal(size=size)


def _score_sets(count, largest=12):
    rng = np.random.default_rng(count)
    for _ in range(count):
        sizes = rng.integers(1, largest, 2)
        scores = _random_scores(rng, sizes.sum())
        yield scores[: sizes[0]], scores[sizes[0] :]


def _accepted(scores, threshold):
    return sum(1 for score in scores if score >= threshold)


def _roc_oracle(genuine, impostor):
    """Exact (FAR, TAR, threshold) by falling threshold."""
    thresholds = [float("inf"), *sorted({*genuine, *impostor}, reverse=True)]
    return [
        (Fraction(_accepted(impostor, t), len(impostor)), Fraction(_accepted(genuine, t), len(genuine)), t)
        for t in thresholds
    ]


def _best_correct(scores, same):
    """The highest number of correct decisions over all thresholds, and the first distinct score it accepts."""
    candidates = [*sorted(set(scores)), float("inf")]
    correct = [sum((s >= t) == bool(g) for s, g in zip(scores, same, strict=True)) for t in candidates]
    first = correct.index(max(correct))
    return correct[first], candidates[first], candidates[first - 1] if first else float("-inf")


def test_best_threshold_against_all_thresholds():
    for genuine, impostor in _score_sets(2000):
        scores = np.concatenate([impostor, genuine])
        same = np.arange(scores.size) >= impostor.size
        threshold = best_threshold(scores, same)
        correct, lowest_accepted, highest_refused = _best_correct(scores.tolist(), same.tolist())
        assert np.sum((scores >= threshold) == same) == correct
        assert highest_refused < threshold <= lowest_accepted or threshold == highest_refused == -np.inf
        if np.isfinite(highest_refused) and np.isfinite(lowest_accepted):
            assert threshold == pytest.approx((highest_refused + lowest_accepted) / 2, abs=1e-15)


def test_kfold_accuracy_against_loops():
    rng = np.random.default_rng(1)
    done = 0
    for _ in range(2000):
        size, folds = rng.integers(4, 25), rng.integers(2, 5)
        scores, same, fold = _random_scores(rng, size), rng.random(size) < 0.5, rng.integers(folds, size=size) * 3
        trainings = [fold != number for number in sorted(set(fold.tolist()))]
        if len(trainings) < 2 or any(len(set(same[training].tolist())) < 2 for training in trainings):
            with pytest.raises(ValueError):
                kfold_accuracy(scores, same, fold)
            continue
        result = kfold_accuracy(scores, same, fold)
        expected = []
        for training, threshold in zip(trainings, result.thresholds.tolist(), strict=True):
            _, lowest_accepted, highest_refused = _best_correct(scores[training].tolist(), same[training].tolist())
            if np.isfinite(highest_refused) and np.isfinite(lowest_accepted):
                middle = highest_refused / 2 + lowest_accepted / 2
                assert threshold == (middle if middle > highest_refused else lowest_accepted)
            else:
                assert threshold == (-np.inf if highest_refused == -np.inf else np.inf)
            test = [(s >= threshold) == g for s, g in zip(scores[~training], same[~training], strict=True)]
            expected.append(sum(test) / len(test))
        assert result.per_fold.tolist() == pytest.approx(expected, abs=1e-15)
        assert result.mean == pytest.approx(sum(expected) / len(expected))
        variance = sum((value - result.mean) ** 2 for value in expected) / len(expected)
        assert result.std == pytest.approx(variance**0.5, abs=1e-9)
        done += 1
    assert done > 1000


def test_combined_protocols_share_one_threshold_a_fold():
    rng = np.random.default_rng(2)
    for _ in range(100):
        protocols = []
        for size in rng.integers(6, 30, rng.integers(1, 4)):
            fold = np.arange(size) * 3 // size
            # Each protocol has its own level of scores.
            protocols.append((_random_scores(rng, size) + rng.normal(), np.arange(size) % 2 == 0, fold))
        scores, same, fold = (sum((part[at].tolist() for part in protocols), []) for at in range(3))
        result = combined_accuracy(iter(protocols))
        for number in range(3):
            pairs = list(zip(scores, same, fold, strict=True))
            others = [(s, g) for s, g, f in pairs if f != number]
            correct, accepted, _ = _best_correct(*zip(*others, strict=True))
            threshold = result.thresholds[number]
            assert sum((s >= threshold) == g for s, g in others) == correct
            test = [(s >= threshold) == g for s, g, f in pairs if f == number]
            assert result.per_fold[number] == pytest.approx(sum(test) / len(test))


def test_combined_is_not_the_mean_of_its_parts():
    fold, same = np.arange(40) // 4, np.arange(40) % 2 == 0
    parts = [(same + level, same, fold) for level in (0.0, 1.0)]
    assert [kfold_accuracy(*part).mean for part in parts] == [1, 1]
    assert combined_accuracy(parts).mean == 0.75


def test_threshold_comes_from_the_other_folds():
    # Each fold alone is separable, so a threshold chosen in-sample would give 100 %.
    scores, same = [0.9, 0.5, 0.4, 0.1], np.array([True, False, True, False])
    result = kfold_accuracy(scores, same, [0, 0, 1, 1])
    assert result.thresholds.tolist() == [0.25, 0.7]
    assert result.per_fold.tolist() == [0.5, 0.5]


def test_noise_is_not_flattered():
    in_sample, held_out = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scores, same, fold = rng.normal(size=40), np.arange(40) % 2 == 0, np.arange(40) // 4
        in_sample.append(np.mean((scores >= best_threshold(scores, same)) == same))
        held_out.append(kfold_accuracy(scores, same, fold).mean)
    assert np.mean(in_sample) > 0.58
    assert np.mean(held_out) < 0.52


def test_scores_of_a_fold_do_not_move_its_threshold():
    rng = np.random.default_rng(0)
    scores, same, fold = rng.normal(size=60), np.arange(60) % 2 == 0, np.arange(60) // 10
    before = kfold_accuracy(scores + same, same, fold).thresholds
    for number in range(6):
        moved = scores + same + np.where(fold == number, rng.normal(size=60) * 5, 0)
        assert kfold_accuracy(moved, same, fold).thresholds[number] == before[number]


def test_threshold_ties_take_the_smallest():
    same = np.array([True, False, True, False])
    # Accepting all, accepting from 0.3 up, and refusing all are equally good.
    assert best_threshold([0.3, 0.3, 0.3, 0.3], same) == -np.inf
    # Cuts at 0.15 and at 0.35 get three of four right.
    assert best_threshold([0.4, 0.3, 0.2, 0.1], same) == pytest.approx(0.15)


def test_tar_at_far_against_all_thresholds():
    fars = [0.001, 0.05, 0.1, 0.2, 0.25, 0.29, 1 / 3, 0.5, 0.7, 0.9, 1.0]
    for genuine, impostor in _score_sets(2000):
        points = tar_at_far(genuine, impostor, fars)
        assert list(points) == fars
        for far, point in points.items():
            if far < 1 / len(impostor):
                assert np.isnan(point).all()
                continue
            allowed = (row for row in reversed(_roc_oracle(genuine, impostor)) if float(row[0]) <= far)
            measured, tar, threshold = next(allowed)
            assert point == (float(tar), threshold, float(measured))


@pytest.mark.parametrize("count", [3, 7, 10, 49, 100, 1000])
def test_far_of_a_whole_number_of_impostors_admits_them_all(count):
    impostor = np.arange(count)
    for allowed in range(1, count + 1):
        ((_, point),) = tar_at_far([count], impostor, [allowed / count]).items()
        assert point == (1.0, count - allowed, allowed / count)


def test_far_below_one_impostor_is_not_extrapolated():
    points = tar_at_far(np.ones(5), np.zeros(1000), [1e-3, 0.9999e-3, 1e-12])
    assert points[1e-3].tar == 1
    assert np.isnan(points[0.9999e-3]).all() and np.isnan(points[1e-12]).all()


def test_tied_impostors_are_refused_together():
    # Two of four impostors share the score 0.8, so a FAR of 1/4 admits neither.
    point = tar_at_far([0.9, 0.8, 0.7], [0.8, 0.8, 0.1, 0.0], [0.25])[0.25]
    assert point == (pytest.approx(1 / 3), 0.9, 0.0)
    assert tar_at_far([0.8], [0.8, 0.8, 0.1, 0.0], [0.25])[0.25] == (0.0, np.inf, 0.0)


def test_roc_against_all_thresholds():
    for genuine, impostor in _score_sets(1000):
        rows = zip(*(column.tolist() for column in roc(genuine, impostor)), strict=True)
        expected = [(float(far), float(tar), threshold) for far, tar, threshold in _roc_oracle(genuine, impostor)]
        assert list(rows) == expected


def test_area_under_curve_against_all_pairs():
    for genuine, impostor in _score_sets(2000):
        wins = sum((g > i) + Fraction(int(g == i), 2) for g in genuine for i in impostor)
        expected = Fraction(wins) / (len(genuine) * len(impostor))
        assert area_under_curve(genuine, impostor) == float(expected)
        far, tar, _ = roc(genuine, impostor)
        assert np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2) == pytest.approx(float(expected))


def test_roc_is_scikit_learns():
    for genuine, impostor in _score_sets(300):
        truth, scores = np.repeat([1, 0], [genuine.size, impostor.size]), np.concatenate([genuine, impostor])
        far, tar, thresholds = metrics.roc_curve(truth, scores, drop_intermediate=False)
        found = roc(genuine, impostor)
        assert np.allclose(found.far, far, atol=1e-15) and np.allclose(found.tar, tar, atol=1e-15)
        assert np.array_equal(found.thresholds, thresholds)
        assert area_under_curve(genuine, impostor) == pytest.approx(metrics.roc_auc_score(truth, scores))


def test_equal_error_rate_against_exact_fractions():
    for genuine, impostor in _score_sets(2000):
        points = [(far, tar) for far, tar, _ in _roc_oracle(genuine, impostor)]
        after = bisect.bisect_left(points, 0, key=lambda point: point[0] - (1 - point[1]))
        (far0, tar0), (far1, tar1) = points[after - 1], points[after]
        # On the line far = far0 + u (far1 - far0), tar alike: solve far = 1 - tar for u.
        u = (1 - tar0 - far0) / (far1 - far0 + tar1 - tar0)
        expected = far0 + u * (far1 - far0)
        assert 1 - (tar0 + u * (tar1 - tar0)) == expected
        assert equal_error_rate(genuine, impostor) == pytest.approx(float(expected), abs=1e-14)


def test_known_extremes():
    assert area_under_curve([1, 2], [0, -1]) == 1 and equal_error_rate([1, 2], [0, -1]) == 0
    assert area_under_curve([0, -1], [1, 2]) == 0 and equal_error_rate([0, -1], [1, 2]) == 1
    assert area_under_curve([3] * 4, [3] * 9) == 0.5 and equal_error_rate([3] * 4, [3] * 9) == 0.5


@pytest.mark.parametrize("metric", [area_under_curve, equal_error_rate, roc, lambda g, i: tar_at_far(g, i, [0.5])])
@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [0.1, np.inf], [[0.1]], ["high"]])
def test_unusable_scores_are_refused(metric, bad):
    with pytest.raises(ValueError):
        metric(bad, [0.1, 0.2])
    with pytest.raises(ValueError):
        metric([0.1, 0.2], bad)


def test_unusable_score_is_named():
    with pytest.raises(ValueError, match="`impostor_scores` must be finite, got nan at index 2"):
        roc([1.0], [0.0, 1.0, np.nan])


@pytest.mark.parametrize("far", [0, -0.1, 1.5, np.nan])
def test_impossible_far_is_refused(far):
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        tar_at_far([1.0], [0.0], [far])


def test_unusable_protocols_are_refused():
    scores, same, fold = np.arange(4.0), np.array([False, True, False, True]), np.array([0, 0, 1, 1])
    assert kfold_accuracy(scores, same, fold).per_fold.shape == (2,)
    for protocols in ([], [(scores, same, fold), (scores, same, fold + 1)]):
        with pytest.raises(ValueError, match="must have the same folds"):
            combined_accuracy(protocols)
    for bad, message in (
        ({"fold": fold * 0}, r"at least 2 are needed, got \[0\]"),
        ({"fold": fold[:3]}, "`fold` must be"),
        ({"fold": fold + 0.5}, "`fold` must be"),
        ({"same": same.astype(int)}, "`same` must be bool"),
        ({"same": same[:3]}, "`same` must be bool"),
        ({"same": np.ones(4, bool)}, "no impostor"),
        ({"same": np.zeros(4, bool)}, "no genuine"),
        ({"same": np.array([False, True, True, True])}, "no impostor"),
        ({"scores": [0, 1, 2, np.nan]}, "`scores` must be finite, got nan at index 3"),
    ):
        with pytest.raises(ValueError, match=message):
            kfold_accuracy(**{"scores": scores, "same": same, "fold": fold, **bad})


def test_facenet_on_all_pairs_of_lfw_images(shared_data):
    folder = shared_data / "lfw_embeddings"
    embeddings = np.fromfile(folder / "LFW_tensor.bytes", "<f4").reshape(-1, 128)
    names = np.array((folder / "LFW_labels.tsv").read_text(encoding="utf-8").splitlines())
    upper = np.triu(np.ones((len(names), len(names)), bool), 1)
    same = (names[:, None] == names)[upper]
    scores = (embeddings @ embeddings.T)[upper]
    assert scores.size == 2921 * 2920 // 2
    points = tar_at_far(scores[same], scores[~same], [1e-2, 1e-3, 1e-4])
    assert [round(point.tar, 3) for point in points.values()] == [0.995, 0.968, 0.765]
    for far, point in points.items():
        assert np.mean(scores[~same] >= point.threshold) == point.measured_far <= far
        assert np.mean(scores[same] >= point.threshold) == point.tar
