"""Refinement against noise that was planted in clusters on a sphere: what is found, and how much of it is right."""

import numpy as np
import pytest

from tfface.data.curation import refinement, score_ratio

PEOPLE, IMAGES, DIM = 120, 16, 32
ERROR_RATE = 0.05


def clusters(spread=0.8, people=PEOPLE, seed=0):
    """Unit vectors of people, IMAGES each, around random directions: (vectors, person of each)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=[people, DIM])
    person = np.repeat(np.arange(people), IMAGES)
    vectors = (centres / np.linalg.norm(centres, axis=1, keepdims=True))[person]
    vectors = vectors + spread * rng.normal(size=vectors.shape) / np.sqrt(DIM)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), person


def plant(person, shuffle, seed=1):
    """Splits 12 people into two labels each, gives 6 pairs one label each, and shuffles a share of all labels.

    Returns:
      (labels, labels without the shuffle, list of split pairs, labels of two people).
    """
    rng = np.random.default_rng(seed)
    chosen, people = rng.permutation(person.max() + 1), person.max() + 1
    right = person.copy()
    split = [(int(one), people + number) for number, one in enumerate(chosen[:12])]
    for one, other in split:
        right[np.flatnonzero(person == one)[IMAGES // 2 :]] = other
    pairs = chosen[12:24].reshape(6, 2)
    for one, other in pairs:
        right[right == other] = one
    labels = right.copy()
    some = rng.permutation(len(labels))[: round(shuffle * len(labels))]
    labels[some] = right[rng.permutation(some)]
    # Without the numbers that the merged ones had.
    names, numbers = np.unique(np.concatenate([labels, right]), return_inverse=True)
    place = {int(name): number for number, name in enumerate(names)}
    return (
        numbers[: len(labels)],
        numbers[len(labels) :],
        {tuple(sorted((place[one], place[other]))) for one, other in split},
        {place[int(one)] for one, _ in pairs},
    )


@pytest.mark.parametrize("shuffle", [0.05, 0.2, 0.4])
def test_planted_noise_is_found_within_the_error_rate(shuffle):
    vectors, person = clusters()
    labels, right, split, merged = plant(person, shuffle)
    found = refinement.refine([vectors], labels)
    wrong = labels != right
    dropped = found.own + found.second <= ERROR_RATE
    assert np.mean(wrong[dropped]) >= 1 - ERROR_RATE
    assert np.mean(dropped[wrong]) >= 0.85
    moved = found.moved >= 1 - ERROR_RATE
    # A label of half of the person is right too.
    halves = dict(split) | {other: one for one, other in split}
    target = found.other[moved]
    fits = (target == right[moved]) | (np.array([halves.get(int(one), -1) for one in target]) == right[moved])
    assert fits.mean() >= 1 - ERROR_RATE and np.mean(moved[wrong]) >= 0.7
    same = {tuple(pair) for pair in found.pairs[found.same >= 1 - ERROR_RATE].tolist()}
    assert same <= split and len(same) >= (12 if shuffle < 0.4 else 8)
    two = set(np.flatnonzero(found.two >= 1 - ERROR_RATE).tolist())
    assert two <= merged and len(two) >= 5
    # The shares are those that were planted.
    assert found.shares["own"] + found.shares["second"] == pytest.approx(1 - wrong.mean(), abs=0.02)


def test_nothing_is_found_where_nothing_is_wrong():
    vectors, person = clusters()
    found = refinement.refine([vectors], person)
    assert (found.own >= 0.5).all() and not found.two.any() and not (found.same >= 0.5).any()


def test_the_numbers_of_identities_and_the_order_of_images_do_not_matter():
    vectors, person = clusters(people=40)
    labels = plant(person, 0.2)[0]
    order, renamed = np.random.default_rng(0).permutation(len(labels)), np.random.default_rng(1).permutation(52)
    renamed = np.argsort(np.argsort(renamed[: labels.max() + 1]))
    one = refinement.refine([vectors], labels)
    other = refinement.refine([vectors[order]], renamed[labels[order]])
    # Only the random pairs and halves differ.
    agree = (one.own[order] >= 0.5) == (other.own >= 0.5)
    assert agree.mean() >= 0.97
    sure = (one.moved[order] >= 0.95) & (other.moved >= 0.95)
    assert sure.sum() > 20 and (renamed[one.other[order]][sure] == other.other[sure]).all()


def test_cross_fitting_finds_the_noise_that_a_model_has_learned():
    """Each model pulls the images of the identities that it was trained on to its label, wrong ones too."""
    vectors, person = clusters()
    labels, right, _, _ = plant(person, 0.2)
    fold = np.arange(labels.max() + 1) % 2
    rng = np.random.default_rng(2)
    pull = rng.normal(size=[labels.max() + 1, DIM]) / np.sqrt(DIM)
    learned = [vectors + 2 * (fold[labels] != model)[:, None] * pull[labels] for model in range(2)]
    wrong = labels != right
    everything = vectors + 2 * pull[labels]
    alone = refinement.refine([everything], labels)
    assert np.mean(alone.own[wrong] <= 0.2) < 0.1
    crossed = refinement.refine(learned, labels, fold)
    dropped = crossed.own + crossed.second <= 0.2
    assert np.mean(dropped[wrong]) >= 0.4 and np.mean(wrong[dropped]) >= 0.8


def test_blocks_do_not_change_the_result(monkeypatch):
    vectors, person = clusters(people=40)
    labels = plant(person, 0.2)[0]
    whole = refinement.refine([vectors], labels)
    monkeypatch.setattr(refinement, "_AT_ONCE", 500)
    parts = refinement.refine([vectors], labels)
    # A product of fewer rows may round its last digit differently.
    np.testing.assert_allclose(parts.own, whole.own, atol=1e-3)
    assert (parts.core == whole.core).all()


def test_an_identity_of_one_image_has_no_evidence_against_it():
    vectors, person = clusters(people=40)
    keep = (person > 0) | (np.arange(len(person)) == 0)
    found = refinement.refine([vectors[keep]], person[keep])
    assert np.isnan(found.score[0]) and found.own[0] > 0.5 and (found.own[1:] > 0.5).mean() > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, y: ([v], y[:-1]), r"`vectors` must be float \[79, D\], got float32 \(80, 32\)"),
        (
            lambda v, y: ([v * np.where(np.arange(80) == 7, np.nan, 1)[:, None]], y),
            "must be finite, got NaN or infinity in row 7",
        ),
        (lambda v, y: ([v], np.zeros_like(y)), "two or more identities"),
        (lambda v, y: ([v], y * 2), "0 to K - 1 .* got 0 to 8 and 4 without one"),
        (lambda v, y: ([v[:5]], np.arange(5)), "all identities have one image"),
        (lambda v, y: ([], y), "one array of embeddings or more, got none"),
        (lambda v, y: ([v], y.astype(float)), r"`labels` must be int \[N\]"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    vectors, person = clusters(people=5)
    with pytest.raises(ValueError, match=message):
        refinement.refine(*change(vectors, person))


def test_ratio_is_that_of_the_densities():
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.6, 0.12, 200_000), rng.normal(0.0, 0.15, 2_000_000)
    ratio = score_ratio.likelihood_ratio(score_ratio.histogram(genuine), score_ratio.histogram(impostor))
    assert (np.diff(ratio) >= 0).all()
    for score in np.array([332, 345, 358, 384]) / 256 + 1 / 512 - 1:  # The middle of a bin.
        expected = np.exp(-((score - 0.6) ** 2) / (2 * 0.12**2) + score**2 / (2 * 0.15**2)) * 0.15 / 0.12
        assert ratio[score_ratio.bins_of(score)] == pytest.approx(expected, rel=0.15)
    # What was never seen is not impossible.
    assert 1 / 200_001 <= ratio[0] < 1e-3 and 1e3 < ratio[-1] <= 2_000_001


def test_impostors_among_own_scores_are_removed():
    rng = np.random.default_rng(0)
    impostor = score_ratio.histogram(rng.normal(0.0, 0.15, 1_000_000))
    genuine = score_ratio.histogram(rng.normal(0.6, 0.1, 60_000))
    mixed = genuine + score_ratio.histogram(rng.normal(0.0, 0.15, 40_000))
    found = score_ratio.without_impostors(mixed, impostor)
    assert found.sum() == pytest.approx(60_000, rel=0.02)
    assert np.abs(found - genuine).sum() < 0.1 * genuine.sum()


def test_probability_beyond_is_cautious_and_finds_what_stands_apart():
    rng = np.random.default_rng(0)
    impostor = rng.normal(0.0, 0.12, 200_000)
    assert score_ratio.probability_beyond(score_ratio.histogram(impostor))[score_ratio.bins_of(impostor)].sum() < 20
    mixed = np.concatenate([rng.normal(0.8, 0.05, 100), impostor])
    found = score_ratio.probability_beyond(score_ratio.histogram(mixed))[score_ratio.bins_of(mixed)]
    assert np.mean(found[:100] > 0.9) > 0.9 and found[100:].sum() < 20
