"""MegaFace against its definition, search by search."""

import itertools

import numpy as np
import pytest
from score_oracles import agrees, exact_scores, noisy_product, operating_point, random_embeddings

from tfface.evaluation import megaface_challenge


def _oracle(probes, labels, distractors, ranks, fars):
    among, against = exact_scores(probes, probes), exact_scores(probes, distractors)
    pairs = [(i, j) for i, j in itertools.permutations(range(len(labels)), 2) if labels[i] == labels[j]]
    found = [1 + sum(score >= among[i, j] for score in against[i]) for i, j in pairs]
    genuine = [among[i, j] for i, j in pairs if i < j]
    points = {far: operating_point(genuine, against.ravel().tolist(), far) for far in fars}
    return {rank: sum(each <= rank for each in found) / len(found) for rank in ranks}, points, len(pairs)


def test_against_definition():
    rng = np.random.default_rng(0)
    ranks, fars = (1, 2, 4), (0.01, 0.05, 0.2, 1 / 3, 0.99)
    for _ in range(1000):
        people, others = rng.integers(2, 6), rng.integers(1, 12)
        both = random_embeddings(rng, people + others)
        probes, distractors = both[:people].copy(), both[people:].copy()
        labels = rng.integers(2, size=people)
        labels[1] = labels[0]
        # Noise may be anything, even not a number.
        noisy_probes = rng.choice(np.arange(2, people), rng.integers(0, people - 1), replace=False)
        noisy_distractors = rng.choice(others, rng.integers(0, others), replace=False)
        clean = (
            np.delete(probes, noisy_probes, 0),
            np.delete(labels, noisy_probes),
            np.delete(distractors, noisy_distractors, 0),
        )
        probes[noisy_probes] = np.nan
        rates, points, searches = _oracle(*clean, ranks, fars)
        result = megaface_challenge(
            probes, labels, distractors, ranks, fars, noisy_probes, noisy_distractors, product=noisy_product(rng)
        )
        assert result.rank_rates == rates
        assert (result.searches, result.impostors) == (searches, len(clean[0]) * len(clean[2]))
        assert all(agrees(result.tar_at_far[far], points[far]) for far in fars)
        assert result.version == ("refined" if noisy_probes.size + noisy_distractors.size else "original")


def test_distractor_equal_to_the_mate_is_no_hit():
    probes, labels = np.array([[1.0, 0], [1, 1]]), [3, 3]
    result = megaface_challenge(probes, labels, np.array([[2.0, 2], [-1, 0]]), ranks=(1, 2), fars=(0.25, 0.5))
    # Probe 0 ties with a copy of its mate; probe 1 has that copy before its mate.
    assert result.rank_rates == {1: 0, 2: 1}
    assert result.tar_at_far[0.25].tar == 0


def test_progress_sees_every_block():
    seen = []

    def progress(blocks):
        for block in blocks:
            seen.append(block)
            yield block

    rng = np.random.default_rng(0)
    megaface_challenge(rng.normal(size=(4, 8)), [0, 0, 1, 1], rng.normal(size=(5000, 8)), progress=progress)
    assert [(first, last) for _, first, last in seen] == [
        (0, 256),
        (256, 512),
        (512, 1024),
        (1024, 2048),
        (2048, 4096),
        (4096, 5000),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1]}, "none of the 2 probes has another image"),
        ({"labels": [0]}, "`labels` must be int or str"),
        ({"distractors": np.ones((2, 3))}, r"`distractors` must be float \[N, 2\]"),
        ({"distractors": np.zeros((2, 2))}, "`distractors` must be finite and not zero"),
        ({"noisy_probes": [2]}, r"`noisy_probes` must be rows in \[0, 2\)"),
        ({"noisy_distractors": [-1]}, "`noisy_distractors` must be rows"),
        ({"noisy_distractors": [0, 1]}, "`distractors` must have a row"),
        ({"fars": (2,)}, r"must be in \(0, 1\]"),
        ({"ranks": ()}, "ranks must be whole numbers from 1 up"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"probes": np.eye(2), "labels": [0, 0], "distractors": np.eye(2)}
    with pytest.raises(ValueError, match=message):
        megaface_challenge(**{**arguments, **changes})


def test_fars_beyond_memory_are_refused(monkeypatch):
    monkeypatch.setattr("tfface.evaluation.protocols.megaface._MOST_IMPOSTORS", 3)
    with pytest.raises(ValueError, match="exhaustive_tar_at_far"):
        megaface_challenge(np.eye(2), [0, 0], np.eye(2), fars=(1.0,))
