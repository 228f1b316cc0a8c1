"""Identification against its definitions, search by search."""

import numpy as np
import pytest
from score_oracles import agrees, exact_scores, operating_point, random_embeddings

from tfface.evaluation import identify


def _oracle(probes, probe_labels, gallery, gallery_labels, ranks, fpirs):
    scores = exact_scores(probes, gallery).tolist()
    hits, found, false = {rank: [] for rank in ranks}, [], []
    for label, line in zip(probe_labels, scores, strict=True):
        mates = [score for score, other in zip(line, gallery_labels, strict=True) if other == label]
        others = [score for score, other in zip(line, gallery_labels, strict=True) if other != label]
        if not mates:
            false.append(max(line))
            continue
        rank = 1 + sum(score >= max(mates) for score in others)
        for limit in ranks:
            hits[limit].append(rank <= limit)
        found.append(max(mates) if rank == 1 else float("-inf"))
    rates = {rank: sum(each) / len(each) for rank, each in hits.items() if each}
    points = {fpir: operating_point(found, false, fpir) if false else None for fpir in fpirs} if found else {}
    return rates, points, len(found), len(false)


def test_against_definitions():
    rng = np.random.default_rng(0)
    ranks, fpirs = (1, 2, 5), (0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9)
    measured = 0
    for _ in range(1500):
        sizes = rng.integers(1, 9, 2)
        both = random_embeddings(rng, sizes.sum())
        probes, gallery = both[: sizes[0]], both[sizes[0] :]
        labels = rng.integers(rng.integers(1, 6), size=sizes[0]), rng.integers(rng.integers(1, 6), size=sizes[1])
        rates, points, mated, nonmated = _oracle(probes, labels[0], gallery, labels[1], ranks, fpirs)
        result = identify(probes, labels[0], gallery, labels[1], ranks, fpirs)
        if not mated:
            assert np.isnan(list(result.rank_rates.values())).all() and (result.mated, result.nonmated) == (0, nonmated)
            false = exact_scores(probes, gallery).max(axis=1).tolist()
            assert result.false_scores.tolist() == false
            for fpir, point in result.tpir_at_fpir.items():
                expected = operating_point(false, false, fpir)
                assert np.isnan(point.tpir) and agrees(point[1:], expected and expected[1:])
            continue
        assert result.rank_rates == rates
        assert (result.mated, result.nonmated) == (mated, nonmated)
        for fpir, point in result.tpir_at_fpir.items():
            assert agrees(point, points[fpir])
            measured += points[fpir] is not None
    assert measured > 500


def test_tie_is_not_a_hit():
    gallery, labels = np.array([[1.0, 0], [1, 0]]), ["a", "b"]
    result = identify(np.array([[1.0, 1]]), ["a"], gallery, labels, (1, 2))
    assert result.rank_rates == {1: 0, 2: 1}


def test_open_set_counts_probes_and_needs_rank_one():
    gallery, labels = np.eye(3), [0, 1, 2]
    # Two mated probes, the second nearer to another person; two probes whose people are not in the gallery.
    probes = np.array([[9.0, 1, 0], [5, 4, 0], [1, 0, 9], [1, 1, 1]])
    result = identify(probes, [0, 1, 7, 8], gallery, labels, (1, 2), (0.5, 1.0, 0.4))
    assert result.rank_rates == {1: 0.5, 2: 1.0}
    half = result.tpir_at_fpir[0.5]
    # The second probe scores 0.62 with its mate, above the 0.58 of the only stranger who must be refused.
    assert (half.tpir, half.measured_fpir) == (0.5, 0.5)
    # With every false alarm allowed, the mate at rank 2 is still not found.
    assert result.tpir_at_fpir[1.0][::2] == (0.5, 1.0)
    assert np.isnan(result.tpir_at_fpir[0.4]).all()


def test_open_set_on_lfw(shared_data):
    folder = shared_data / "lfw_embeddings"
    embeddings = np.fromfile(folder / "LFW_tensor.bytes", "<f4").reshape(-1, 128)
    names = np.array((folder / "LFW_labels.tsv").read_text(encoding="utf-8").splitlines())
    people, first = np.unique(names, return_index=True)
    # The first image of every other person is enrolled; all other images are probes.
    enrolled = first[::2]
    probe = np.setdiff1d(np.arange(len(names)), first)
    arguments = embeddings[probe], names[probe], embeddings[enrolled], names[enrolled], (1, 5, 10), (0.01, 0.1)
    result = identify(*arguments)
    assert (len(people), result.mated + result.nonmated) == (353, 2921 - 353)
    rates, points, mated, nonmated = _oracle(*arguments)
    assert (result.rank_rates, result.mated, result.nonmated) == (rates, mated, nonmated)
    assert all(agrees(point, points[fpir]) for fpir, point in result.tpir_at_fpir.items())
    assert {rank: round(rate, 3) for rank, rate in rates.items()} == {1: 0.991, 5: 1.0, 10: 1.0}
    assert [round(point.tpir, 3) for point in result.tpir_at_fpir.values()] == [0.614, 0.970]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe_labels": [0]}, "`probe_labels` must be int or str"),
        ({"gallery_labels": [0.0, 1.0]}, "`gallery_labels` must be int or str"),
        ({"gallery": np.eye(3)[:2]}, "`gallery` must be float"),
        ({"gallery": np.zeros((2, 2))}, "`gallery` must be finite and not zero"),
        ({"probes": np.full((2, 2), np.nan)}, "`probes` must be finite and not zero"),
        ({"ranks": (0,)}, "ranks must be whole numbers from 1 up"),
        ({"fpirs": (0.0,)}, r"must be in \(0, 1\]"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"probes": np.eye(2), "probe_labels": [0, 1], "gallery": np.eye(2), "gallery_labels": [0, 1]}
    with pytest.raises(ValueError, match=message):
        identify(**{**arguments, **changes})
