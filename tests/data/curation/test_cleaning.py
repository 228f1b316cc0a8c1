"""Changes of the index: dropped, excluded, renamed and shuffled identities, against plain counting."""

import collections
import random

import numpy as np
import pytest

from tfface.data.curation import cleaning, label_noise
from tfface.data.sources.base import Item


def index(counts):
    """Items of identities with the given numbers of images, mixed."""
    items = [Item(f"{name}/{shot}.jpg", name, [0, shot]) for name, count in counts.items() for shot in range(count)]
    random.Random(0).shuffle(items)
    return items


def identities(items):
    return collections.Counter(item.identity for item in items)


@pytest.mark.parametrize("min_images", [1, 2, 3, 5])
def test_low_shot_identities_are_dropped_whole(min_images):
    items = index({"a": 1, "b": 2, "c": 3, "d": 5})
    kept = cleaning.drop_low_shot(iter(items), min_images)
    assert kept == [item for item in items if {"a": 1, "b": 2, "c": 3, "d": 5}[item.identity] >= min_images]


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="no identity has 6 images; the largest has 5"):
        cleaning.drop_low_shot(index({"a": 5}), 6)


def test_exclusion_list_drops_identities_and_single_images(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("identity,key,reason\na,,same name\nb,b/1.jpg,same picture\n007,,\nNA,,\n", encoding="utf-8")
    items = index({"a": 3, "b": 3, "c": 2, "007": 1, "NA": 1, "7": 1})
    kept = cleaning.exclude(iter(items), path)
    assert identities(kept) == {"b": 2, "c": 2, "7": 1} and "b/1.jpg" not in [item.key for item in kept]
    with pytest.raises(ValueError, match="names no key and no identity"):
        cleaning.exclude(index({"x": 3}), path)


def test_table_renames_merges_and_drops(tmp_path):
    path = tmp_path / "table.csv"
    items = index({"a": 3, "b": 2, "c": 4, "d": 1})
    path.write_text("identity,new_identity\na,x\nb,x\nc,\n", encoding="utf-8")
    changed = cleaning.relabel(iter(items), path)
    assert identities(changed) == {"x": 5, "d": 1}
    assert [item.key for item in changed] == [item.key for item in items if item.identity != "c"]
    path.write_text("new_identity,key\nb,a/0.jpg\n,a/1.jpg\n", encoding="utf-8")
    assert identities(cleaning.relabel(items, path)) == {"a": 1, "b": 3, "c": 4, "d": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the names of columns"),
        ("identity\na\n", "column 'new_identity' is missing; it has identity"),
        ("new_identity\na\n", "expected one of the columns identity and key"),
        ("identity,key,new_identity\na,b,c\n", "expected one of the columns identity and key"),
        ("identity,new_identity\na,b\na,c\n", "'a' occurs twice"),
        ("identity,new_identity\nz,b\n", "names no identity of this dataset"),
        ("\xff\xfe\x00", "not a valid CSV table"),
        ("identity,new_identity\nx,a,b\n", "not a valid CSV table"),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        cleaning.relabel(index({"a": 2}), path)


@pytest.mark.parametrize("fraction", [0, 0.2, 0.4, 0.6, 0.8, 1])
def test_shuffling_touches_its_share_of_every_class_and_keeps_their_sizes(fraction):
    counts = {f"id{number:03d}": 3 + number % 9 for number in range(200)}
    items = index(counts)
    noisy = label_noise.shuffle_labels(iter(items), fraction, seed=3)
    assert [(item.key, item.place) for item in noisy] == [(item.key, item.place) for item in items]
    assert identities(noisy) == counts
    changed = collections.Counter(
        before.identity for before, after in zip(items, noisy, strict=True) if before.identity != after.identity
    )
    limits = {name: int(np.floor(fraction * count + 0.5)) for name, count in counts.items()}
    assert all(changed[name] <= limits[name] for name in counts)
    # About one in K = 200 chosen labels returns to its image: fewer than 2 % of all.
    assert sum(changed.values()) >= 0.98 * sum(limits.values())


def test_shuffling_depends_on_seed_and_keys_alone():
    items = index({"a": 10, "b": 10, "c": 10})
    noisy = {item.key: item.identity for item in label_noise.shuffle_labels(items, 0.5, seed=1)}
    assert noisy == {item.key: item.identity for item in label_noise.shuffle_labels(items[::-1], 0.5, seed=1)}
    assert noisy != {item.key: item.identity for item in label_noise.shuffle_labels(items, 0.5, seed=2)}
    # The formula is written out, because the noise must never change once results are published.
    assert "".join(noisy[f"a/{shot}.jpg"] for shot in range(10)) == "ababbaaacc"


def test_every_class_gives_to_every_other_alike():
    """Labels move between classes as often as expected by chance, within four standard errors."""
    items = index(dict.fromkeys("abcd", 500))
    moves = collections.Counter(
        (before.identity, after.identity)
        for seed in range(4)
        for before, after in zip(items, label_noise.shuffle_labels(items, 1.0, seed), strict=True)
    )
    expected = 4 * 500 / 4
    assert all(abs(moves[one, other] - expected) < 4 * expected**0.5 for one in "abcd" for other in "abcd")


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_bad_fraction_is_named(fraction):
    with pytest.raises(ValueError, match=f"`fraction` must be in .* got {fraction}"):
        label_noise.shuffle_labels([], fraction)
