"""The hardest pairs, and the choice of gallery and probes."""

import numpy as np
import pytest

from tfface.data.protocols.pair_lists import Pairs, sample_pairs
from tfface.evaluation import hardest_pairs, identify_others, verify


def people(seed, identities=12, images=5):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), images)
    embeddings = rng.normal(size=(identities, 6))[labels] + rng.normal(size=(len(labels), 6))
    return embeddings, [f"{label:02d}/{number % images}.jpg" for number, label in enumerate(labels)], labels


def test_hardest_pairs_against_a_sort():
    embeddings, keys, labels = people(0)
    pairs = sample_pairs(keys, labels, 80, seed=0, folds=2)
    row = dict(zip(keys, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), strict=True))
    result = verify(embeddings, keys, pairs)
    genuine, impostor = hardest_pairs(result, pairs, 7)
    every = [(row[a] @ row[b], a, b, same) for a, b, same in zip(pairs.left, pairs.right, pairs.same, strict=True)]
    expected = sorted(one[:3] for one in every if one[3])[:7], sorted(one[:3] for one in every if not one[3])[:-8:-1]
    for found, wanted in zip((genuine, impostor), expected, strict=True):
        assert [(pair.left, pair.right) for pair in found] == [one[1:] for one in wanted]
        np.testing.assert_allclose([pair.score for pair in found], [one[0] for one in wanted], atol=1e-12)
    assert hardest_pairs(result, pairs, 0) == ([], [])
    assert [len(kind) for kind in hardest_pairs(result, pairs, 1000)] == [40, 40]


def test_equal_scores_keep_the_order_of_the_protocol():
    keys = [f"{number}" for number in range(8)]
    pairs = Pairs(keys[:4], keys[4:], np.array([True, False] * 2), np.arange(4) // 2)
    result = verify(np.ones((8, 3)), keys, pairs)
    genuine, impostor = hardest_pairs(result, pairs, 2)
    assert [pair.left for pair in genuine] == ["0", "2"]
    assert [pair.left for pair in impostor] == ["1", "3"]


def test_results_of_other_pairs_are_refused():
    embeddings, keys, labels = people(0)
    pairs, others = (sample_pairs(keys, labels, count, seed=0, folds=2) for count in (80, 40))
    with pytest.raises(ValueError, match="not belong to these 40 pairs"):
        hardest_pairs(verify(embeddings, keys, pairs), others, 3)


@pytest.mark.parametrize("seed", range(5))
def test_cmc_against_loops_in_any_order(seed):
    embeddings, keys, labels = people(seed)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    enrolled = [row for row, key in enumerate(keys) if key.endswith("/0.jpg")]
    ranks = []
    for row in sorted(set(range(len(keys))) - set(enrolled)):
        scores = [unit[row] @ unit[other] for other in enrolled]
        ranks.append(1 + sum(score > scores[labels[row]] for score in scores))
    order = np.random.default_rng(seed).permutation(len(keys))
    found, size = identify_others(embeddings[order], [keys[i] for i in order], labels[order], max_rank=20)
    assert size == 12 and found.mated == 48
    assert found.rank_rates == {rank: pytest.approx(np.mean(np.array(ranks) <= rank)) for rank in range(1, 13)}


def test_identification_needs_a_second_image():
    with pytest.raises(ValueError, match="an identity with two images, got 3 with one each"):
        identify_others(np.eye(3), ["a", "b", "c"], np.arange(3))
