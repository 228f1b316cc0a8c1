"""Exact scores against integer arithmetic, float32 ones against their bound."""

import numpy as np
import pytest
from score_oracles import exact_scores, random_embeddings

from tfface.evaluation import pair_scores
from tfface.evaluation.exact import similarity
from tfface.evaluation.exact.similarity import UnitVectors, listed_scores, same_label_pairs, tolerance


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_pair_scores_are_those_of_integers(monkeypatch, block):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    rng = np.random.default_rng(block)
    for _ in range(400):
        size = rng.integers(1, 9)
        embeddings = random_embeddings(rng, size)
        left, right = rng.integers(size, size=(2, rng.integers(0, 30)))
        assert np.array_equal(pair_scores(embeddings, left, right), exact_scores(embeddings, embeddings)[left, right])


@pytest.mark.parametrize("dim", [2, 64, 512, 2048])
def test_scores_do_not_depend_on_order_or_blocks(dim):
    rng = np.random.default_rng(dim)
    embeddings = rng.normal(size=(200, dim)).astype(np.float32) + rng.choice([0, 2])
    left, right = rng.integers(200, size=(2, 5000))
    dense = pair_scores(embeddings, left, right)
    assert np.array_equal(dense, pair_scores(embeddings, right, left))
    sparse = [pair_scores(embeddings, left[:9][[at]], right[:9][[at]])[0] for at in range(9)]
    assert np.array_equal(sparse, dense[:9])
    order = rng.permutation(dim)
    assert np.array_equal(dense, pair_scores(embeddings[:, order], left, right))
    assert np.array_equal(dense, exact_scores(embeddings, embeddings)[left, right])


@pytest.mark.parametrize("dim", [1, 2, 100, 512, 2048])
def test_scores_are_close_to_cosines(dim):
    rng = np.random.default_rng(dim)
    left, right = rng.normal(size=(2, 100, dim)).astype(np.longdouble)
    right[:50] = left[:50] + 1e-3
    cosines = (left * right).sum(1) / np.sqrt((left**2).sum(1) * (right**2).sum(1))
    rows = np.arange(100)
    scores = pair_scores(np.concatenate([left, right]).astype(np.float64), rows, rows + 100)
    assert np.abs(scores - cosines).max() <= dim**0.5 * 2.0**-26


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("dim", [1, 3, 512, 2048])
def test_float32_products_are_within_their_bound(dim, dtype):
    rng = np.random.default_rng(dim)
    # All of one sign, so that partial sums grow and roundings add up.
    embeddings = np.concatenate([rng.normal(size=(100, dim)), rng.random((100, dim)) + 0.1]).astype(dtype)
    vectors = UnitVectors(embeddings)
    single, rows = vectors.single(slice(None)), np.arange(200)
    # The slowest sum, one term after the other, rounds most.
    products = np.zeros((200, 200), np.float32)
    for column in single.T:
        products += column[:, None] * column
    exact = listed_scores(vectors, vectors, np.repeat(rows, 200), np.tile(rows, 200)).reshape(200, 200)
    for found in (products, similarity.float32_product(single, single)):
        assert np.abs(found - exact).max() <= tolerance(dim)


def test_equal_images_tie_whatever_their_length():
    rng = np.random.default_rng(0)
    row, other = rng.normal(size=(2, 512)).astype(np.float32)
    scores = pair_scores(np.stack([row, 2 * row, row / 1024, other]), [0, 1, 2], [3, 3, 3])
    assert len(set(scores.tolist())) == 1


def test_subset_and_memory_map(tmp_path):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 8)).astype(np.float32)
    np.save(tmp_path / "e.npy", embeddings)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    rows = np.array([7, 3, 40])
    assert np.array_equal(UnitVectors(mapped, rows=rows).exact(slice(0, 2)), UnitVectors(embeddings).exact(rows[:2]))
    assert np.array_equal(UnitVectors(mapped, rows=rows).single([2]), UnitVectors(embeddings).single([40]))
    embeddings[5] = np.nan
    assert len(UnitVectors(embeddings, rows=rows)) == 3


def test_same_label_pairs_against_loops():
    rng = np.random.default_rng(0)
    for _ in range(300):
        left, right = (rng.integers(4, size=rng.integers(0, 7)) for _ in range(2))
        found = list(zip(*same_label_pairs(left, right), strict=True))
        assert found == [(i, j) for i in range(left.size) for j in range(right.size) if left[i] == right[j]]


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((2, 3)), "length 0.0 in row 0"),
        ([[1.0, 2], [np.nan, 1]], "length nan in row 1"),
        ([[1.0, 2], [np.inf, 1]], "length inf in row 1"),
        ([[1.0, 2], [1e-30, 0]], "length 1e-30 in row 1"),
        ([[1, 2]], "must be float"),
        ([1.0, 2.0], "must be float"),
        (np.zeros((0, 3)), "must be float"),
        (np.zeros((3, 0)), "must be float"),
    ],
)
def test_unusable_embeddings_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        pair_scores(embeddings, [0], [0])


@pytest.mark.parametrize(("left", "right"), [([0], [2]), ([-1], [0]), ([0.0], [0]), ([0, 1], [0]), ([[0]], [[0]])])
def test_unusable_pairs_are_refused(left, right):
    with pytest.raises(ValueError, match="left|right"):
        pair_scores(np.eye(2), left, right)
