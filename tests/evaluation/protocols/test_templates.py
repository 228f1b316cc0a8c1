"""Template pooling against loops, mode by mode, and the 1:1 and 1:N protocols on templates."""

import itertools

import numpy as np
import pytest
from score_oracles import agrees, exact_scores, operating_point

from tfface.evaluation import (
    Pooling,
    Templates,
    area_under_curve,
    identify,
    identify_templates,
    pool_templates,
    verify_templates,
    wilson_interval,
)

MODES = [
    Pooling(*mode)
    for mode in itertools.product(("none", "sum", "concatenate"), ("unit", "raw"), (False, True), ("media", "images"))
]


def _images(rng, size, dim=4):
    return {
        "embeddings": rng.normal(size=(size, dim)).astype(np.float32),
        "flipped": rng.normal(size=(size, dim)).astype(np.float32),
        "detector": rng.random(size) + 0.1,
        "templates": rng.integers(1 + size // 3, size=size) * 7,
        "media": rng.integers(3, size=size),
    }


def _needed(images, pooling):
    unused = [
        name
        for name, used in (
            ("flipped", pooling.flip != "none"),
            ("detector", pooling.detector),
            ("media", pooling.mean == "media"),
        )
        if not used
    ]
    return {name: array for name, array in images.items() if name not in unused}


def _oracle(images, pooling):
    pooled = {}
    for template in sorted(set(images["templates"].tolist())):
        media = {}
        for at in np.flatnonzero(images["templates"] == template):
            feature, mirrored = images["embeddings"][at].astype(float), images["flipped"][at].astype(float)
            if pooling.flip == "sum":
                feature = feature + mirrored
            if pooling.flip == "concatenate":
                feature = np.array([*feature, *mirrored])
            if pooling.length == "unit":
                feature = feature / sum(x * x for x in feature) ** 0.5
            if pooling.detector:
                feature = feature * images["detector"][at]
            media.setdefault(images["media"][at] if pooling.mean == "media" else 0, []).append(feature)
        pooled[template] = sum(sum(group) / len(group) for group in media.values())
    return pooled


@pytest.mark.parametrize("pooling", MODES, ids=str)
def test_pooling_against_loops(pooling):
    rng = np.random.default_rng(0)
    for size in [*range(1, 40), 2500]:
        images = _images(rng, size)
        templates = pool_templates(pooling=pooling, **_needed(images, pooling))
        expected = _oracle(images, pooling)
        assert templates.ids.tolist() == list(expected)
        assert np.allclose(templates.embeddings, np.array(list(expected.values())), rtol=1e-12, atol=1e-12)
        assert templates.pooling == str(pooling)


def test_modes_differ_and_have_names_of_their_own():
    images = _images(np.random.default_rng(1), 60)
    pooled = [pool_templates(pooling=mode, **_needed(images, mode)) for mode in MODES]
    assert len({each.pooling for each in pooled}) == len(MODES)
    for first, second in itertools.combinations(pooled, 2):
        if first.embeddings.shape == second.embeddings.shape:
            assert not np.allclose(first.embeddings, second.embeddings)


def test_huge_template_and_many_images_keep_their_place():
    labels = np.repeat([3, 1, 2], [5000, 1, 1200])
    pooled = pool_templates(np.eye(3)[labels - 1], labels, pooling=Pooling(mean="images"))
    assert pooled.embeddings.tolist() == np.eye(3).tolist()


def test_video_is_the_mean_of_its_frames():
    rng = np.random.default_rng(2)
    frames, video = rng.normal(size=(90, 5)), np.repeat(["b", "a", "c"], 30)
    pooled = pool_templates(frames, video, pooling=Pooling(length="raw", mean="images"))
    assert pooled.ids.tolist() == ["a", "b", "c"]
    assert np.allclose(pooled.embeddings, [frames[video == name].mean(axis=0) for name in "abc"])


def _people(seed=0, people=12, each=4):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    ids = rng.permutation(1000)[: labels.size]
    embeddings = rng.normal(size=(people, 6))[labels] + 0.8 * rng.normal(size=(labels.size, 6))
    order = np.argsort(ids)
    return Templates(ids[order], embeddings[order], "a mode"), labels[order]


def test_verification_is_that_of_the_scores():
    templates, labels = _people()
    left, right = np.triu_indices(len(labels), 1)
    same = labels[left] == labels[right]
    shuffled = np.random.default_rng(0).permutation(left.size)
    left, right, same = left[shuffled], right[shuffled], same[shuffled]
    fars = (1e-4, 1e-2, 0.1)
    result = verify_templates(templates, templates.ids[left], templates.ids[right], same, fars)
    scores = exact_scores(templates.embeddings, templates.embeddings)[left, right]
    for far, point in result.tar_at_far.items():
        assert agrees(point, operating_point(scores[same].tolist(), scores[~same].tolist(), far))
    assert not result.tar_at_far[1e-4].measurable and np.isnan(result.intervals[1e-4]).all()
    assert result.intervals[0.1] == wilson_interval(result.tar_at_far[0.1].tar, same.sum())
    assert result.auc == area_under_curve(scores[same], scores[~same])
    assert (result.pooling, result.genuine, result.impostors) == ("a mode", same.sum(), np.sum(~same))


def test_galleries_are_searched_apart():
    templates, labels = _people(3)
    first = np.unique(labels, return_index=True)[1]
    galleries = [(templates.ids[part], labels[part]) for part in (first[:6], first[6:])]
    probes = np.setdiff1d(np.arange(len(labels)), first)
    fpirs = (0.2, 0.5)
    result = identify_templates(templates, templates.ids[probes], labels[probes], galleries, fpirs=fpirs)
    parts = [
        identify(templates.embeddings[probes], labels[probes], templates.embeddings[part], labels[part], fpirs=fpirs)
        for part in (first[:6], first[6:])
    ]
    assert [part.mated for part in result.galleries] == [part.nonmated for part in parts[::-1]] == [18, 18]
    for rank, rate in result.rank_rates.items():
        assert rate == np.mean([part.rank_rates[rank] for part in parts])
    for fpir, tpir in result.tpir_at_fpir.items():
        assert tpir == np.mean([part.tpir_at_fpir[fpir].tpir for part in parts])
    merged = np.concatenate([first[:6], first[6:]])
    together = identify(templates.embeddings[probes], labels[probes], templates.embeddings[merged], labels[merged])
    assert together.nonmated == 0 and together.rank_rates[1] < result.rank_rates[1]


def test_mean_over_galleries_is_not_measurable_where_one_is_not():
    templates, labels = _people(4)
    first = np.unique(labels, return_index=True)[1]
    galleries = [(templates.ids[first], labels[first]), (templates.ids[first[:6]], labels[first[:6]])]
    result = identify_templates(templates, templates.ids, labels, galleries, fpirs=(0.5,))
    assert np.isnan(result.tpir_at_fpir[0.5]) and result.galleries[1].tpir_at_fpir[0.5].tpir > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": [0, 0]}, "`media` must not be given"),
        ({"pooling": Pooling()}, "`media` must be given"),
        ({"pooling": Pooling(flip="sum", mean="images")}, "`flipped` must be given"),
        ({"pooling": Pooling(detector=True, mean="images"), "detector": [1, np.nan]}, "`detector` must be finite"),
        ({"pooling": Pooling(detector=True, mean="images"), "detector": [1, -1]}, "`detector` must be finite"),
        ({"pooling": Pooling(detector=True, mean="images"), "detector": [0, 1]}, "template 5 cancel out"),
        ({"pooling": Pooling(flip="sum", mean="images"), "flipped": -np.eye(2)}, "image 0 and its flip"),
        ({"pooling": Pooling(flip="sum", mean="images"), "flipped": np.ones((2, 3))}, "must have the shape"),
        ({"templates": [1]}, "`templates` must be int or str"),
        ({"templates": [1.0, np.nan]}, "`templates` must be int or str"),
        ({"embeddings": np.array([[1.0, 0], [0, 0]])}, "`embeddings` must be finite and not zero"),
        ({"embeddings": np.array([[1.0, 0], [-1, 0]]), "templates": ["x", "x"]}, "template 'x' cancel out"),
    ],
)
def test_bad_images_are_refused(changes, message):
    arguments = {"embeddings": np.eye(2), "templates": [5, 6], "pooling": Pooling(mean="images"), **changes}
    with pytest.raises(ValueError, match=message):
        pool_templates(**arguments)


@pytest.mark.parametrize("option", [{"flip": "yes"}, {"length": "l2"}, {"mean": "video"}, {"detector": "score"}])
def test_unknown_modes_are_refused(option):
    with pytest.raises(ValueError, match="must be one of"):
        Pooling(**option)


def test_unknown_templates_and_shapes_are_refused():
    templates, labels = _people()
    ids = templates.ids
    with pytest.raises(ValueError, match="template 1000 has no image"):
        verify_templates(templates, [ids[0], 1000], ids[:2], np.array([True, False]))
    with pytest.raises(ValueError, match="template 'x' has no image"):
        Templates(np.array(["a", "y"]), np.eye(2), "").rows(["a", "x"])
    for left, same in ((ids[:3], [True, False]), (ids[:2], [1, 0])):
        with pytest.raises(ValueError, match="bool `same` must be"):
            verify_templates(templates, left, ids[:2], np.array(same))
    with pytest.raises(ValueError, match="at least one gallery"):
        identify_templates(templates, ids, labels, [])
    once, twice = [0, 1, 2], [2, 1, 2]
    for probes, gallery in ((once, twice), (twice, once)):
        with pytest.raises(ValueError, match=f"template {ids[2]} must be listed once, got 2 times"):
            identify_templates(templates, ids[probes], labels[probes], [(ids[gallery], labels[gallery])])
