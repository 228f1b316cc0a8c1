"""Results by group, against loops, and the CSV files that name the groups."""

import math

import numpy as np
import pytest

from tfface.data.protocols.pair_lists import Pairs
from tfface.evaluation import group_results, read_groups, verify


def protocol(seed, count=200, images=40):
    rng = np.random.default_rng(seed)
    keys = [f"{number}.jpg" for number in range(images)]
    left, right = rng.integers(0, images, (2, count))
    pairs = Pairs(np.array(keys)[left], np.array(keys)[right], rng.random(count) < 0.4, np.arange(count) % 4)
    return verify(rng.normal(size=(images, 4)), keys, pairs), pairs, keys


@pytest.mark.parametrize("seed", range(10))
def test_groups_against_loops(seed):
    result, pairs, keys = protocol(seed)
    rng = np.random.default_rng(seed)
    values = dict(zip(keys, rng.choice(["b", "a", "", "c"], len(keys), p=[0.45, 0.4, 0.1, 0.05]), strict=True))
    table = group_results(result, pairs, "skin", {**values, "not in the pairs": "d"})

    genuine, impostor = iter(result.genuine_scores), iter(result.impostor_scores)
    errors = {}
    for a, b, same, fold in zip(pairs.left, pairs.right, pairs.same, pairs.fold, strict=True):
        accepted = next(genuine if same else impostor) >= result.accuracy.thresholds[fold]
        # "~" sorts unknown last.
        first, second = sorted((values[a] or "~", values[b] or "~"))
        name = (first if first == second else f"{first} | {second}").replace("~", "(unknown)")
        errors.setdefault(name, {True: [], False: []})[bool(same)].append(accepted != same)
    assert table.column == "skin"
    assert {group.name for group in table.groups} == errors.keys()
    for group in table.groups:
        refused, accepted = errors[group.name][True], errors[group.name][False]
        assert (group.genuine, group.impostor) == (len(refused), len(accepted))
        for rate, wrong in ((group.refused, refused), (group.accepted, accepted)):
            assert rate == (pytest.approx(sum(wrong) / len(wrong)) if wrong else pytest.approx(math.nan, nan_ok=True))
    balanced = {
        name: 1 - (sum(wrong[True]) / len(wrong[True]) + sum(wrong[False]) / len(wrong[False])) / 2
        for name, wrong in errors.items()
        if wrong[True] and wrong[False]
    }
    assert balanced[table.worst.name] == min(balanced.values())
    # Everything together is the protocol's own count of errors.
    wrong = sum(sum(kind) for both in errors.values() for kind in both.values())
    assert 1 - wrong / len(pairs) == pytest.approx(np.average(result.accuracy.per_fold))


def test_many_numbers_become_quarters_of_the_images():
    result, pairs, keys = protocol(0)
    ages = {key: str(20 + number) for number, key in enumerate(keys)}
    names = {name for group in group_results(result, pairs, "age", ages).groups for name in group.name.split(" | ")}
    assert names == {"20 to 29", "30 to 39", "40 to 49", "50 to 59"}


def test_few_numbers_stay_and_are_ordered_as_numbers():
    result, pairs, keys = protocol(0)
    poses = {key: ("100", "9", "-5")[number % 3] for number, key in enumerate(keys)}
    groups = group_results(result, pairs, "yaw", poses).groups
    assert [group.name for group in groups] == ["-5", "-5 | 9", "-5 | 100", "9", "9 | 100", "100"]


@pytest.mark.parametrize("texts", [["nan"] * 20 + ["1"] * 20, [str(n) for n in range(39)] + ["x"]])
def test_what_is_not_all_finite_numbers_is_text(texts):
    result, pairs, keys = protocol(0)
    groups = group_results(result, pairs, "c", dict(zip(keys, texts, strict=True))).groups
    assert {name for group in groups for name in group.name.split(" | ")} == set(texts)


def test_one_group_is_not_the_worst_of_anything():
    result, pairs, keys = protocol(0)
    table = group_results(result, pairs, "c", dict.fromkeys(keys, "all"))
    assert [group.name for group in table.groups] == ["all"]
    assert table.worst is None
    assert table.to_dict()["worst"] is None


def test_missing_measurements_are_null_in_json():
    result, pairs, keys = protocol(0)
    lonely = {key: str(number) + "x" for number, key in enumerate(keys)}
    groups = group_results(result, pairs, "c", lonely).to_dict()["groups"]
    assert any(group["refused"] is None for group in groups)
    assert all(group["genuine"] == 0 for group in groups if group["refused"] is None)


def test_images_without_a_row_and_foreign_results_are_refused():
    result, pairs, keys = protocol(0)
    with pytest.raises(ValueError, match=r"column 'c' has no row for 2 images of the pairs, such as '10.jpg'"):
        group_results(result, pairs, "c", dict.fromkeys(set(keys) - {"10.jpg", "11.jpg"}, "a"))
    with pytest.raises(ValueError, match="not belong to these 199 pairs"):
        part = Pairs(*(column[:199] for column in (pairs.left, pairs.right, pairs.same, pairs.fold)))
        group_results(result, part, "c", dict.fromkeys(keys, "a"))


def test_csv_is_read(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text('\ufeffkey,pose,"skin, tone"\n\na.jpg, frontal ,"1 ""x"""\nb.jpg,,2\n', encoding="utf-8")
    assert read_groups(path) == {
        "pose": {"a.jpg": "frontal", "b.jpg": ""},
        "skin, tone": {"a.jpg": '1 "x"', "b.jpg": "2"},
    }


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "header"),
        (b"key\na.jpg\n", "header"),
        (b"key,a,a\n", "distinct column names"),
        (b"key,a\nx.jpg,1,2\n", "expected 2 cells"),
        (b"key,a\nx.jpg,1\nx.jpg,2\n", "'x.jpg' occurs more than once"),
        (b"key,a\n\xff\xfe,1\n", "not a CSV file"),
        (b'key,a\n"x.jpg,1\n', "not a CSV file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "groups.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"groups.csv.*{message}"):
        read_groups(path)


def test_only_line_ends_end_lines(tmp_path):
    (tmp_path / "groups.csv").write_bytes('key,note\r\na\u2028b.jpg,"two\nlines"\rc.jpg,x\n'.encode())
    assert read_groups(tmp_path / "groups.csv") == {"note": {"a\u2028b.jpg": "two\nlines", "c.jpg": "x"}}
