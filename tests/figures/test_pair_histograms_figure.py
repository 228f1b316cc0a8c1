"""Histograms of pairs against loops over all pairs."""

import itertools

import numpy as np
import pytest

from tfface import export
from tfface.data.protocols.pairs import Pairs, write_pairs
from tfface.evaluation.exact.pair_histograms import count_pairs
from tfface.figures import PairHistograms


@pytest.fixture(scope="module")
def embeddings():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return export.Embeddings(vectors, [f"{row}.jpg" for row in range(40)], np.arange(40) % 7)


def oracle(embeddings, same, degrees):
    """Counts per degree, or per cosine of 0.01, by a loop over all pairs."""
    counts = np.zeros(180 if degrees else 200, int)
    for one, other in itertools.combinations(range(40), 2):
        if (embeddings.labels[one] == embeddings.labels[other]) == same:
            cosine = sum(float(a) * float(b) for a, b in zip(*embeddings.vectors[[one, other]], strict=True))
            counts[int(np.degrees(np.arccos(cosine)) if degrees else (cosine + 1) * 100)] += 1
    return counts


@pytest.mark.parametrize("degrees", [True, False])
def test_drawn_heights_are_the_shares_of_all_pairs(embeddings, tmp_path, degrees):
    export.save_embeddings(tmp_path / "a.npz", embeddings)
    figure = PairHistograms(str(tmp_path / "a.npz"), degrees=degrees).draw(tmp_path / "a.png")
    impostor, genuine = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    for patch, same in ((impostor, False), (genuine, True)):
        counts = oracle(embeddings, same, degrees)
        np.testing.assert_allclose(patch.get_data().values, 100 * counts / counts.sum())
        np.testing.assert_allclose(
            patch.get_data().edges, np.arange(181) if degrees else np.linspace(-1, 1, 201), atol=1e-12
        )
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"{oracle(embeddings, same, degrees).sum()} {kind} pairs"
                      for same, kind in ((False, "impostor"), (True, "genuine"))]  # fmt: skip
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_an_official_list_replaces_the_draw(embeddings, tmp_path):
    export.save_embeddings(tmp_path / "a.npz", embeddings)
    keys = embeddings.keys
    write_pairs(tmp_path / "pairs.csv", Pairs(keys[:3], keys[7:10], [True, True, False], [0, 1, 1]))
    (counts,) = PairHistograms(tmp_path / "a.npz", tmp_path / "pairs.csv", degrees=False).counts
    cosines = np.sum(embeddings.vectors[:3].astype(float) * embeddings.vectors[7:10], axis=1)
    assert np.flatnonzero(counts.genuine).tolist() == sorted({int((c + 1) * 100) for c in cosines[:2]})
    assert np.flatnonzero(counts.impostor).tolist() == [int((cosines[2] + 1) * 100)]
    write_pairs(tmp_path / "other.csv", Pairs(["gone", *keys[:2]], keys[7:10], [True, True, False], [0, 1, 1]))
    with pytest.raises(ValueError, match="must have all images of the list"):
        PairHistograms(tmp_path / "a.npz", tmp_path / "other.csv")


def test_drawn_impostors_are_impostors_and_as_many_as_asked_for(embeddings):
    # People of opposite directions: an impostor pair has a cosine of -1, a genuine pair one of 1.
    vectors = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 600, axis=0)
    counts = count_pairs(vectors, np.repeat([0, 1], 600), np.linspace(-1, 1, 3), impostors=300_000)
    assert counts.impostor.tolist() == [300_000, 0]
    assert counts.genuine.tolist() == [0, 2 * (600 * 599 // 2)]
    # Fewer drawn pairs have about the distribution of all.
    edges = np.linspace(-1, 1, 5)
    every = count_pairs(embeddings.vectors, embeddings.labels, edges).impostor
    assert every.sum() == np.sum(embeddings.labels[:, None] != embeddings.labels) // 2
    some = count_pairs(embeddings.vectors, embeddings.labels, edges, impostors=600, seed=1).impostor
    assert some.sum() == 600
    np.testing.assert_allclose(some / 600, every / every.sum(), atol=0.08)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"edges": [-1, 0.5]}, "must rise from at most -1 to at least 1"),
        ({"edges": [-1, 1], "impostors": 0}, "at least 1, got 0"),
        ({"edges": [-1, 1], "labels": np.zeros(40, int)}, "genuine and impostor pairs are needed, got 780 and 0"),
    ],
)
def test_what_cannot_be_counted_is_refused(embeddings, arguments, message):
    with pytest.raises(ValueError, match=message):
        count_pairs(embeddings.vectors, **{"labels": embeddings.labels, **arguments})


def test_files_that_cannot_be_drawn_are_refused(embeddings, tmp_path):
    export.save_embeddings(tmp_path / "a.npz", export.Embeddings(embeddings.vectors, embeddings.keys))
    with pytest.raises(ValueError, match="have no labels; `pairs` names a list"):
        PairHistograms(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="got 2 for 1 files"):
        PairHistograms(tmp_path / "a.npz", ["one", "two"])
