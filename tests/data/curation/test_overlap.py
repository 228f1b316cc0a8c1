"""Overlap of training and test sets: names in any spelling, images in any encoding."""

import io

import pandas as pd
import pytest
from PIL import Image

from tfface.data.curation import cleaning, overlap
from tfface.data.synthetic.rendering import render_face


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("José_María_Aznar", "jose maria aznar"),
        ("JOSE-MARIA  AZNAR ", "jose maria aznar"),
        ("Conan O'Brien", "conan o brien"),
        ("Weiß", "weiss"),
        ("Владимир_Путин", "владимир путин"),
        ("50_Cent", "50 cent"),
        ("__", ""),
    ],
)
def test_names_are_compared_without_case_accents_and_punctuation(name, folded):
    assert overlap.fold_name(name) == folded


def test_shared_identities_are_named_with_their_counterpart():
    found = overlap.shared_identities(["Ann_Lee", "bob", "--", "Žan"], ["bob hope", "ANN LEE", "zan", "..", ""])
    assert [(one.identity, one.key, one.reason) for one in found] == [
        ("Ann_Lee", "", "same name as ANN LEE"),
        ("Žan", "", "same name as zan"),
    ]


def test_cfp_shares_155_names_with_the_pairs_of_lfw(shared_data):
    lines = (shared_data / "protocols" / "lfw_pairs.txt").read_text(encoding="utf-8").splitlines()[1:]
    fields = [line.split("\t") for line in lines]
    lfw = {name for line in fields for name in (line[:1] if len(line) == 3 else line[::2])}
    cfp = (shared_data / "cfp112" / "Data" / "list_name.txt").read_text(encoding="utf-8").splitlines()
    # These names differ only in `_` for a space, and four in case.
    known = {name.replace("_", " ").lower() for name in lfw}
    expected = sorted(name for name in cfp if name.lower() in known)
    assert len(lfw) == 4281 and len(expected) == 155
    assert [one.identity for one in overlap.shared_identities(cfp, lfw)] == expected


@pytest.fixture
def sets(memory_source):
    """A training set, and two test sets: one with a recompressed image of it, one with a file of it."""

    def face(identity, index, size=(112, 112), **save):
        buffer = io.BytesIO()
        image = Image.fromarray(render_face(0, identity, index)[0]).resize(size, Image.Resampling.BICUBIC)
        image.save(buffer, **{"format": "PNG", **save})
        return buffer.getvalue()

    train = {f"{name}/{shot}.png": face(number, shot) for number, name in enumerate("abcd") for shot in range(4)}
    first = {"x/1.jpg": face(1, 2, (160, 160), format="JPEG", quality=80), "x/2.png": face(90, 0)}
    second = {"C/7.png": train["d/3.png"], "y/7.png": face(91, 0)}
    return [memory_source(content) for content in (train, first, second)]


def test_shared_pictures_are_found_in_every_test_set(sets):
    train, *tests = sets
    found = overlap.find_overlap(train, tests, by_name=False)
    assert [(one.identity, one.key, one.reason) for one in found] == [
        ("b", "b/2.png", "same picture as x/1.jpg"),
        ("d", "d/3.png", "same file as C/7.png"),
    ]
    assert overlap.find_overlap(train, [tests[0]], ["B"], by_image=False) == [overlap.Shared("b", "", "same name as B")]


def test_list_excludes_what_was_found(sets, tmp_path):
    train, *tests = sets
    overlap.write_exclusions(tmp_path / "list.csv", overlap.find_overlap(train, tests))
    kept = cleaning.exclude(train.items(), tmp_path / "list.csv")
    # The identity c has a namesake; the others share images.
    dropped = {item.key for item in train.items()} - {item.key for item in kept}
    assert dropped == {"b/2.png", "d/3.png", "c/0.png", "c/1.png", "c/2.png", "c/3.png"}
    assert len(pd.read_csv(tmp_path / "list.csv")) == 3


def test_nothing_in_common_gives_an_empty_list(sets, tmp_path):
    overlap.write_exclusions(tmp_path / "list.csv", overlap.find_overlap(sets[1], [sets[2]]))
    assert (tmp_path / "list.csv").read_text() == "identity,key,reason\n"
