"""Exact TAR@FAR over all pairs against a trial of every threshold, and its resumption after an interruption."""

import numpy as np
import pytest
from score_oracles import agrees, exact_scores, noisy_product, operating_point, random_embeddings

from tfface.evaluation import exhaustive_tar_at_far, megaface_challenge, tar_at_far
from tfface.evaluation.exact import score_bands
from tfface.evaluation.protocols import exhaustive

FARS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.999)


@pytest.fixture
def set_block(monkeypatch):
    def set_block(size):
        for module in (exhaustive, score_bands):
            monkeypatch.setattr(module, "BLOCK", size)

    return set_block


def _pairs(embeddings, labels, distractors):
    among = exact_scores(embeddings, embeddings)
    first, second = np.triu_indices(len(labels), 1)
    same = labels[first] == labels[second]
    genuine, impostor = among[first, second][same], among[first, second][~same]
    return genuine, impostor if distractors is None else exact_scores(embeddings, distractors).ravel()


@pytest.fixture(params=[1, 2])
def passes(request, monkeypatch):
    if request.param == 2:
        monkeypatch.setattr(score_bands, "_MOST_KEPT", 0)
    return request.param


@pytest.mark.parametrize("paired", [False, True])
# The second bins are hardly wider than the float32 error, as they are in practice.
@pytest.mark.parametrize(("dim", "narrowest", "cases"), [(3, 2.0**-14, 300), (64, 2.0**-17, 40)])
def test_against_all_thresholds(monkeypatch, set_block, paired, dim, narrowest, cases):
    set_block(6)
    monkeypatch.setattr(score_bands, "_BATCH", 5)
    monkeypatch.setattr(score_bands, "_NARROWEST", narrowest)
    rng = np.random.default_rng(paired)
    refused = 0
    for _ in range(cases):
        # One pass, two, or one that finds too many pairs on its way.
        monkeypatch.setattr(score_bands, "_MOST_KEPT", rng.choice([0, 10, 1000]))
        size, others = rng.integers(2, 14), rng.integers(1, 10)
        both = random_embeddings(rng, size + others, dim)
        embeddings, distractors = both[:size], both[size:] if paired else None
        labels = rng.integers(rng.integers(1, 5), size=size)
        genuine, impostor = _pairs(embeddings, labels, distractors)
        if not genuine.size or not impostor.size:
            refused += 1
            with pytest.raises(ValueError, match="genuine and impostor pairs"):
                exhaustive_tar_at_far(embeddings, labels, FARS, distractors)
            continue
        result = exhaustive_tar_at_far(embeddings, labels, FARS, distractors, product=noisy_product(rng))
        assert (result.genuine, result.impostors) == (genuine.size, impostor.size)
        for far, point in result.tar_at_far.items():
            assert agrees(point, operating_point(genuine.tolist(), impostor.tolist(), far))
    assert refused < cases / 2


def _people(seed, people=400, images=5, dim=64, noise=1.2):
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(people, dim)), images, axis=0)
    return (centres + noise * rng.normal(size=centres.shape)).astype(np.float32), np.repeat(np.arange(people), images)


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("block", [256, 700, 4096])
def test_blocks_do_not_matter(set_block, block):
    set_block(block)
    embeddings, labels = _people(0)
    order = np.random.default_rng(1).permutation(len(labels))
    genuine, impostor = _pairs(embeddings, labels, None)
    fars = (1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    expected = tar_at_far(genuine, impostor, fars)
    names = np.array([f"person {label}" for label in labels])
    result = exhaustive_tar_at_far(embeddings[order], names[order], fars)
    assert list(result.tar_at_far) == list(fars)
    for far, point in result.tar_at_far.items():
        assert point == expected[far] or np.isnan([*point, *expected[far]]).all()
    assert [result.tar_at_far[far].measurable for far in fars] == [far * impostor.size >= 1 for far in fars]


def test_agrees_with_megaface():
    embeddings, labels = _people(2, people=60)
    distractors = np.random.default_rng(3).normal(size=(20_000, 64)).astype(np.float32)
    fars = (1e-6, 1e-5, 1e-4)
    result = exhaustive_tar_at_far(embeddings, labels, fars, distractors)
    assert result.tar_at_far == megaface_challenge(embeddings, labels, distractors, fars=fars).tar_at_far
    assert 0 < result.tar_at_far[1e-6].tar < result.tar_at_far[1e-4].tar < 1


class _Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    ("passes", "stop"), [(1, 1), (1, 7), (1, 9), (2, 1), (2, 7), (2, 10), (2, 12), (2, 19)], indirect=["passes"]
)
def test_interrupted_run_goes_on(set_block, tmp_path, passes, stop):
    set_block(200)
    embeddings, labels = _people(4, people=160)  # 10 blocks
    rng = np.random.default_rng(0)
    computed = []

    def product(left, right):
        computed.append(len(left))
        if len(computed) == stop + 1:
            raise _Interrupted
        return noisy_product(rng)(left, right)

    path, fars = tmp_path / "state.npz", (1e-4, 1e-2)
    expected = exhaustive_tar_at_far(embeddings, labels, fars)
    with pytest.raises(_Interrupted):
        exhaustive_tar_at_far(embeddings, labels, fars, checkpoint=path, save_seconds=0, product=product)
    assert path.exists()
    for other in ({"labels": np.roll(labels, 1)}, {"embeddings": embeddings[::-1]}, {"fars": (1e-3, 1e-2)}):
        with pytest.raises(ValueError, match="checkpoint of another measurement"):
            exhaustive_tar_at_far(
                **{"embeddings": embeddings, "labels": labels, "fars": fars, "checkpoint": path, **other}
            )
    result = exhaustive_tar_at_far(embeddings, labels, fars, checkpoint=path, save_seconds=0, product=product)
    assert result.tar_at_far == expected.tar_at_far
    # 10 blocks in each pass; only the interrupted one was asked for twice.
    assert len(computed) == 10 * passes + 1
    assert not path.exists()


def test_second_pass_leaves_out_blocks_below_the_threshold(set_block, passes):
    set_block(100)
    computed = []

    def product(left, right):
        computed.append(1)
        return left @ right.T

    embeddings, labels = _people(5)
    blocks = 20 * 21 // 2
    exhaustive_tar_at_far(embeddings, labels, [1.1 / 1_995_000], product=product)
    assert len(computed) == blocks if passes == 1 else blocks < len(computed) < blocks + 10


def test_foreign_file_is_no_checkpoint(tmp_path):
    embeddings, labels = _people(0, people=4)
    for content in (b"", b"PK", b"not an archive"):
        (tmp_path / "state").write_bytes(content)
        with pytest.raises(ValueError, match="not a checkpoint|another measurement"):
            exhaustive_tar_at_far(embeddings, labels, [0.1], checkpoint=tmp_path / "state")


def test_rough_products_are_refused():
    embeddings, labels = _people(0, people=100)

    def rough(left, right):
        return (left @ right.T).astype(np.float16).astype(np.float32)

    with pytest.raises(ValueError, match="as accurate as float32"):
        exhaustive_tar_at_far(embeddings, labels, [1e-2], product=rough)


def test_memory_is_bounded(monkeypatch):
    embeddings, labels = _people(0, people=100)
    monkeypatch.setattr(score_bands, "_MOST_VALUES", 3)
    with pytest.raises(ValueError, match="more than 3 different scores"):
        exhaustive_tar_at_far(embeddings, labels, [0.5])
    monkeypatch.setattr(exhaustive, "_MOST_GENUINE", 999)
    with pytest.raises(ValueError, match="at most 999 genuine pairs can be held, got 1000"):
        exhaustive_tar_at_far(embeddings, labels, [0.1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fars": [1.0]}, r"must be in \(0, 1\)"),
        ({"fars": [0.0]}, r"must be in \(0, 1\]"),
        ({"labels": [0, 0]}, "`labels` must be int or str"),
        ({"labels": [0.0, 0, 1]}, "`labels` must be int or str"),
        ({"labels": [0, 1, 2]}, "genuine and impostor pairs are needed, got 0 and 3"),
        ({"labels": [0, 0, 0]}, "genuine and impostor pairs are needed, got 3 and 0"),
        ({"embeddings": np.diag([1.0, 1, np.nan])}, "length nan in row 2"),
        ({"distractors": np.ones((2, 2))}, r"`distractors` must be float \[N, 3\]"),
    ],
)
def test_bad_input_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        exhaustive_tar_at_far(**{"embeddings": np.eye(3), "labels": [0, 0, 1], "fars": [0.5], **changes})
