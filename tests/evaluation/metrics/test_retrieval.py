"""Retrieval metrics against rankings written out, and scikit-learn's average precision."""

import numpy as np
import pytest
from score_oracles import exact_scores, random_embeddings
from sklearn.metrics import average_precision_score

from tfface.evaluation import retrieve
from tfface.evaluation.metrics import retrieval

KS = (1, 2, 5)


def _oracle(scores, labels, item_labels, itself):
    """Metrics from each query's ranking, in which an irrelevant item precedes a relevant one of the same score."""
    recall, maps, at_r, skipped = {k: [] for k in KS}, {k: [] for k in (*KS, "all")}, [], 0
    for query, (line, label) in enumerate(zip(scores.tolist(), labels, strict=True)):
        ranking = sorted(
            (-score, other == label)
            for item, (score, other) in enumerate(zip(line, item_labels, strict=True))
            if not (itself and item == query)
        )
        hits = [relevant for _, relevant in ranking]
        total = sum(hits)
        if not total:
            skipped += 1
            continue
        for k in KS:
            recall[k].append(any(hits[:k]))
        for k in maps:
            end = len(hits) if k == "all" else k
            maps[k].append(sum(sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits[:end]) if hit) / total)
        at_r.append(sum(sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits[:total]) if hit) / total)
    return recall, maps, at_r, skipped


@pytest.mark.parametrize("own_gallery", [True, False])
def test_against_written_out_rankings(own_gallery, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK_SCORES", 40)
    rng = np.random.default_rng(own_gallery)
    for _ in range(1000):
        sizes = rng.integers(1, 12, 2)
        both, labels = random_embeddings(rng, sizes.sum()), rng.integers(rng.integers(1, 6), size=sizes.sum())
        queries, query_labels, gallery, gallery_labels = both[: sizes[0]], labels[: sizes[0]], None, None
        if own_gallery:
            gallery, gallery_labels = both[sizes[0] :], labels[sizes[0] :]
            scores, item_labels = exact_scores(queries, gallery), gallery_labels
        else:
            scores, item_labels = exact_scores(queries, queries), query_labels
        recall, maps, at_r, skipped = _oracle(scores, query_labels, item_labels, not own_gallery)
        if not at_r:
            with pytest.raises(ValueError, match="has a relevant item"):
                retrieve(queries, query_labels, gallery, gallery_labels, KS, KS)
            continue
        result = retrieve(queries, query_labels, gallery, gallery_labels, KS, KS)
        assert (result.queries, result.without_match) == (len(at_r), skipped)
        assert result.recall_at == pytest.approx({k: np.mean(recall[k]) for k in KS})
        assert result.map_at == pytest.approx({k: np.mean(maps[k]) for k in KS})
        assert (result.map, result.map_at_r) == pytest.approx((np.mean(maps["all"]), np.mean(at_r)))


def test_average_precision_is_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(100):
        embeddings, labels = rng.normal(size=(40, 5)), rng.integers(6, size=40)
        scores = exact_scores(embeddings[:10], embeddings[10:])
        expected = [
            average_precision_score(labels[10:] == label, line)
            for label, line in zip(labels[:10], scores, strict=True)
            if label in labels[10:]
        ]
        found = retrieve(embeddings[:10], labels[:10], embeddings[10:], labels[10:])
        assert found.map == pytest.approx(np.mean(expected), abs=1e-12)


def test_iqiyi_divides_by_all_videos_of_a_person():
    query, videos = np.array([[1.0, 0]]), np.stack([np.ones(150), np.linspace(0, 1, 150)], axis=1)
    result = retrieve(query, ["a"], videos, ["a"] * 150)
    # All of the first hundred are right, and 50 more exist.
    assert (result.map_at[100], result.map, result.map_at_r) == (pytest.approx(100 / 150), 1, 1)


def test_random_ranking_and_perfect_ranking():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 40
    centres = rng.normal(size=(40, 32))[labels]
    perfect = retrieve(centres + 1e-3 * rng.normal(size=centres.shape), labels)
    assert (perfect.recall_at[1], perfect.map, perfect.map_at_r) == (1, 1, 1)
    chance = retrieve(rng.normal(size=centres.shape), labels)
    assert chance.recall_at[1] < 0.06 and chance.recall_at[100] > 0.85 and chance.map_at_r < 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_labels": [0]}, "`query_labels` must be int or str"),
        ({"query_labels": [0, 1]}, "none of the 2 queries has a relevant item"),
        ({"queries": [[0.0, 1], [np.nan, 0]]}, "`queries` must be finite"),
        ({"gallery": np.eye(2)}, "only one of them"),
        ({"gallery": np.eye(3), "gallery_labels": [0, 0, 0]}, r"`gallery` must be float \[N, 2\]"),
        ({"recall_at": (0,)}, "ranks must be whole numbers from 1 up"),
        ({"map_at": (1.5,)}, "ranks must be whole numbers from 1 up"),
    ],
)
def test_bad_input_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        retrieve(**{"queries": np.eye(2), "query_labels": [0, 0], **changes})


def test_progress_sees_every_block(monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK_SCORES", 40)
    seen = []

    def progress(blocks):
        for block in blocks:
            seen.append(block)
            yield block

    vectors, labels = np.random.default_rng(0).normal(size=(10, 4)), np.arange(10) % 5
    found = retrieve(vectors, labels, recall_at=KS, progress=progress)
    # Forty scores at a time are four queries of ten items.
    assert seen == [0, 4, 8]
    assert vars(found) == vars(retrieve(vectors, labels, recall_at=KS))
