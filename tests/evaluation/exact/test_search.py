"""Highest scores of blocked float32 products against sorting all exact ones."""

import numpy as np
import pytest
from score_oracles import exact_scores, noisy_product, random_embeddings

from tfface.evaluation.exact import search
from tfface.evaluation.exact.search import highest_scores
from tfface.evaluation.exact.similarity import UnitVectors, same_label_pairs


@pytest.fixture(params=[(2, 3, 1), (4096, 2048, 256)])
def blocks(request, monkeypatch):
    for name, size in zip(("_ROWS", "_COLUMNS", "_FIRST_COLUMNS"), request.param, strict=True):
        monkeypatch.setattr(search, name, size)


def _expected(scores, count):
    padded = np.full((len(scores), count), -np.inf)
    width = min(count, scores.shape[1])
    padded[:, :width] = -np.sort(-scores, axis=1)[:, :width]
    return padded


def test_against_sorting_everything(blocks):
    rng = np.random.default_rng(0)
    for _ in range(1000):
        people, others = rng.integers(1, 7), rng.integers(1, 60)
        both = random_embeddings(rng, people + others)
        probes, gallery = both[:people], both[people:]
        labels = rng.integers(3, size=people), rng.integers(5, size=others)
        scores = exact_scores(probes, gallery)
        mates = None
        if rng.random() < 0.5:
            mates = same_label_pairs(*labels)
            scores[labels[0][:, None] == labels[1]] = -np.inf
        count, overall = rng.integers(1, 5), rng.integers(0, 9)
        found = highest_scores(
            UnitVectors(probes), UnitVectors(gallery), count, overall, mates, noisy_product(rng, rng.choice([0, 0.9]))
        )
        assert np.array_equal(found[0], _expected(scores, count))
        assert np.array_equal(found[1], _expected(scores.reshape(1, -1), overall)[0])


@pytest.mark.parametrize("order", ["random", "rising", "falling"])
def test_many_blocks(order):
    rng = np.random.default_rng(0)
    probes, gallery = rng.normal(size=(30, 32)), rng.normal(size=(9000, 32))
    if order != "random":
        gallery = gallery[np.argsort(gallery @ probes[0])][:: 1 if order == "rising" else -1]
    scores = exact_scores(probes, gallery)
    best, top = highest_scores(UnitVectors(probes), UnitVectors(gallery), 50, 700)
    assert np.array_equal(best, _expected(scores, 50))
    assert np.array_equal(top, _expected(scores.reshape(1, -1), 700)[0])


def test_equal_scores_in_millions_are_settled():
    probes, gallery = np.tile(np.arange(1.0, 4), (20, 1)), np.tile(np.arange(2.0, 5), (60_000, 1))
    best, top = highest_scores(UnitVectors(probes), UnitVectors(gallery), 3, 5)
    assert set(best.ravel()) | set(top) == {exact_scores(probes[:1], gallery[:1])[0, 0]}


def test_rough_products_are_refused():
    rng = np.random.default_rng(0)
    vectors = UnitVectors(rng.normal(size=(50, 64)))

    def rough(left, right):
        return (left @ right.T).astype(np.float16).astype(np.float32)

    with pytest.raises(ValueError, match="as accurate as float32"):
        highest_scores(vectors, vectors, 5, product=rough)
