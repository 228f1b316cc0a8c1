"""The nearest people of a gallery against their definition, search by search."""

import numpy as np
import pytest
from score_oracles import exact_scores, random_embeddings

from tfface.evaluation import identify, nearest_people


def test_against_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes = rng.integers(1, 9, 2)
        both = random_embeddings(rng, sizes.sum())
        probes, gallery = both[: sizes[0]], both[sizes[0] :]
        labels = rng.integers(4, size=sizes[1])
        count = int(rng.integers(1, 6))
        found = nearest_people(probes, gallery, labels, count)
        for scores, people in zip(exact_scores(probes, gallery).tolist(), found, strict=True):
            best = {label: max(np.array(scores)[labels == label]) for label in set(labels)}
            expected = sorted(best.items(), key=lambda one: (-one[1], one[0]))[:count]
            assert [(person.label, person.score) for person in people] == expected
            assert all(scores[p.row] == p.score and labels[p.row] == p.label for p in people)


def test_the_first_is_rank_one_of_identification():
    rng = np.random.default_rng(1)
    people = rng.normal(size=(40, 16)).astype(np.float32)
    gallery, probes = (people + rng.normal(scale=0.6, size=people.shape).astype(np.float32) for _ in range(2))
    names = np.array([f"person {number}" for number in range(40)])
    hits = [near[0].label == name for near, name in zip(nearest_people(probes, gallery, names, 1), names, strict=True)]
    assert np.mean(hits) == identify(probes, names, gallery, names, [1], []).rank_rates[1]
    assert 0 < np.mean(hits) < 1


def test_large_galleries_are_read_in_blocks(monkeypatch):
    rng = np.random.default_rng(2)
    probes, gallery, labels = rng.normal(size=(3, 8)), rng.normal(size=(50, 8)), rng.integers(20, size=50)
    expected = nearest_people(probes, gallery, labels)
    monkeypatch.setattr("tfface.evaluation.metrics.gallery._ROWS", 7)
    assert nearest_people(probes, gallery, labels) == expected


@pytest.mark.parametrize(
    "options, message",
    [({"count": 0}, "count must be at least 1"), ({"gallery_labels": [0.5, 1.5]}, "must be int or str")],
)
def test_refuses(options, message):
    arguments = {"probes": np.ones((1, 2)), "gallery": np.ones((2, 2)), "gallery_labels": [0, 1], **options}
    with pytest.raises(ValueError, match=message):
        nearest_people(**arguments)
