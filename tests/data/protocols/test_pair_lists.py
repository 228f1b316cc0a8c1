"""Readers and sampler of verification pairs."""

import collections
import subprocess
import sys

import numpy as np
import pytest

from tfface.data.protocols import pairs as pairs_module
from tfface.data.protocols.cfp_lists import read_cfp_pairs
from tfface.data.protocols.lfw_lists import read_lfw_pairs, read_lfw_people
from tfface.data.protocols.pair_lists import Pairs, read_pairs, sample_pairs
from tfface.data.protocols.pairs import folds_of_classes, write_pairs

LFW = ["2 1", "Ann_Lee\t1\t12", "Ann_Lee\t1\tBob\t2", "Bob\t1\t2", "Cy\t1\tDee\t1"]


def _columns(pairs):
    return pairs.left.tolist(), pairs.right.tolist(), pairs.same.tolist(), pairs.fold.tolist()


def _lfw(folder, lines, newline="\n"):
    path = folder / "pairs.txt"
    path.write_bytes(newline.join([*lines, ""]).encode())
    return path


def _cfp(root, prefix="Data/Images/"):
    """Three people with two frontal images and one profile each, two folds."""
    protocol = root / "Protocol"
    protocol.mkdir(parents=True)
    frontal = [f"00{person}/frontal/0{image}.jpg" for person in (1, 2, 3) for image in (1, 2)]
    profile = [f"00{person}/profile/01.jpg" for person in (1, 2, 3)]
    for name, images in (("F", frontal), ("P", profile)):
        lines = (f"{number} {prefix}{image}\n" for number, image in enumerate(images, start=1))
        (protocol / f"image_list_{name}.txt").write_text("".join(lines))
    for kind, folds in (
        ("FF", [("1,2\n", "2,3\n"), ("6,5", "1,6")]),
        ("FP", [("2,1\n", "1,2\n"), ("5,3\n3,2\n", "6,1\n")]),
    ):
        for number, (same, diff) in enumerate(folds, start=1):
            folder = protocol / "Split" / kind / f"{number:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same)
            (folder / "diff.txt").write_text(diff)
    return protocol / "Split"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lfw_view_2(tmp_path, newline):
    assert _columns(read_lfw_pairs(_lfw(tmp_path, LFW, newline))) == (
        ["Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0001.jpg", "Bob/Bob_0001.jpg", "Cy/Cy_0001.jpg"],
        ["Ann_Lee/Ann_Lee_0012.jpg", "Bob/Bob_0002.jpg", "Bob/Bob_0002.jpg", "Dee/Dee_0001.jpg"],
        [True, False, True, False],
        [0, 0, 1, 1],
    )


def test_lfw_view_1_is_a_single_fold(tmp_path):
    pairs = read_lfw_pairs(_lfw(tmp_path, ["2", "A\t1\t2", "B\t1\t3", "A\t1\tB\t1", "A\t2\tC\t1"]))
    assert pairs.same.tolist() == [True, True, False, False]
    assert pairs.fold.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, "ten 300"),
        (1, "0 300"),
        (1, "10 300 5"),
        (1, ""),
        (2, "Ann_Lee\t1"),
        (2, "Ann_Lee\t1\tBob\t2"),
        (2, "Ann_Lee\t1\t1"),
        (2, "Ann_Lee\t0\t1"),
        (2, "Ann_Lee\t1\t-2"),
        (2, "Ann_Lee\t1\t1٣"),
        (2, "Ann_Lee\t1\t" + "9" * 5000),
        (2, "../Ann_Lee\t1\t2"),
        (2, "Ann/Lee\t1\t2"),
        (2, ""),
        (3, "Ann_Lee\t1\t2"),
        (3, "Ann_Lee\t1\tAnn_Lee\t2"),
        (3, "Ann_Lee\t1\tBob\t2\t3"),
        (5, "Cy\tone\tDee\t1"),
    ],
)
def test_malformed_lfw_line_is_named(tmp_path, number, line):
    path = _lfw(tmp_path, [*LFW[: number - 1], line, *LFW[number:]])
    with pytest.raises(ValueError) as error:
        read_lfw_pairs(path)
    assert f"{path}, line {number}: " in str(error.value)
    assert repr(line[:200]) in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("lines", [LFW[:-1], [*LFW, "Bob\t1\t2"], ["9999999 9999999", *LFW[1:]]])
def test_lfw_line_count_must_be_the_announced_one(tmp_path, lines):
    with pytest.raises(ValueError, match=rf"announces \d+ pairs .*got {len(lines) - 1}"):
        read_lfw_pairs(_lfw(tmp_path, lines))


def test_file_that_is_no_list_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="model.bin: not a text file"):
        read_lfw_pairs(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="model.bin, line 1"):
        read_lfw_pairs(path)
    monkeypatch.setattr("tfface.data.formats.text_lists._MAX_BYTES", 100)
    path.write_bytes(b"1" * 101)
    with pytest.raises(ValueError, match="at most 100 bytes"):
        read_lfw_pairs(path)
    monkeypatch.setattr("tfface.data.formats.text_lists._MAX_LINES", 10)
    path.write_bytes(b"1\n" * 20)
    with pytest.raises(ValueError, match="at most 10 lines"):
        read_lfw_pairs(path)


@pytest.mark.parametrize("prefix", ["Data/Images/", "../Data/Images/"])
def test_cfp(tmp_path, prefix):
    split = _cfp(tmp_path, prefix)
    assert _columns(read_cfp_pairs(split / "FF")) == (
        ["001/frontal/01.jpg", "001/frontal/02.jpg", "003/frontal/02.jpg", "001/frontal/01.jpg"],
        ["001/frontal/02.jpg", "002/frontal/01.jpg", "003/frontal/01.jpg", "003/frontal/02.jpg"],
        [True, False, True, False],
        [0, 0, 1, 1],
    )
    assert _columns(read_cfp_pairs(split / "FP")) == (
        [f"00{name}.jpg" for name in ("1/frontal/02", "1/frontal/01", "3/frontal/01", "2/frontal/01", "3/frontal/02")],
        [f"00{person}/profile/01.jpg" for person in (1, 2, 3, 2, 1)],
        [True, False, True, True, False],
        [0, 0, 1, 1, 1],
    )


@pytest.mark.parametrize(
    ("kind", "file", "content"),
    [
        ("FF", "02/same.txt", "1,2\n1,7\n"),
        ("FF", "02/same.txt", "1,2\n0,2\n"),
        ("FF", "02/same.txt", "1,2\n1 2\n"),
        ("FF", "02/same.txt", "1,2\n\n3,4\n"),
        ("FF", "02/same.txt", "1,2\n2,2\n"),
        ("FF", "02/same.txt", "1,2\n2,3\n"),
        ("FF", "02/diff.txt", "1,3\n1,2\n"),
        ("FP", "02/same.txt", "1,1\n3,4\n"),
        ("FP", "02/diff.txt", "1,2\n3,2\n"),
        ("FF", "../../image_list_F.txt", "1 Data/Images/001/frontal/01.jpg\n3 Data/Images/001/frontal/02.jpg\n"),
        ("FF", "../../image_list_F.txt", "1 Data/Images/001/frontal/01.jpg\n2 Data/Images/../../etc/passwd\n"),
    ],
)
def test_malformed_cfp_line_is_named(tmp_path, kind, file, content):
    folder = _cfp(tmp_path) / kind
    (folder / file).write_text(content)
    with pytest.raises(ValueError) as error:
        read_cfp_pairs(folder)
    assert file.split("/")[-1] + ", line 2: " in str(error.value)
    assert repr(content.split("\n")[1]) in str(error.value)


def test_cfp_folder_must_be_whole(tmp_path):
    split = _cfp(tmp_path)
    with pytest.raises(ValueError, match="FF or FP"):
        read_cfp_pairs(split)
    (split / "FF" / "01").rename(split / "FF" / "03")
    with pytest.raises(ValueError, match=r"without gaps, got \[2, 3\]"):
        read_cfp_pairs(split / "FF")


def _cross(kind, pairs=24):
    """Lines in the form of AgeDB (one line per pair) or CALFW (two lines), and the columns that they encode."""
    left, right, same, lines = [], [], [], []
    for number in range(pairs):
        left.append(f"{number}_Ann_30_f.jpg")
        right.append(f"{number}_Bob-Lee_40_m.jpg")
        same.append(number % 8 < 4)
        code = {"agedb": 1, "cplfw": 1, "calfw": 1 + number * 10 // pairs}[kind] if same[-1] else 0
        lines += (
            [f"{left[-1]} {right[-1]} {code}"] if kind == "agedb" else [f"{left[-1]} {code}", f"{right[-1]} {code}"]
        )
    return lines, (left, right, same, [number // 8 * 4 + number % 4 for number in range(pairs)])


@pytest.mark.parametrize("kind", ["agedb", "calfw", "cplfw"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lists_of_flat_folders(tmp_path, kind, newline):
    lines, (left, right, same, place) = _cross(kind)
    pairs = read_pairs(_lfw(tmp_path, lines, newline))
    assert _columns(pairs) == (left, right, same, [index * 10 // 12 for index in place])


def test_folds_of_a_balanced_list_are_its_parts_in_order():
    # Evaluators of AgeDB-30 do the same: 600 consecutive pairs per fold.
    same = np.tile(np.repeat([True, False], 300), 10)
    assert folds_of_classes(same).tolist() == (np.arange(6000) // 600).tolist()
    # Evaluators of CPLFW do the same: a tenth of each class per fold.
    same = np.repeat([True, False], 3000)
    assert folds_of_classes(same).tolist() == [*(np.arange(3000) // 300), *(np.arange(3000) // 300)]
    with pytest.raises(ValueError, match="at least 10 impostor pairs, got 9"):
        folds_of_classes([True] * 10 + [False] * 9)


@pytest.mark.parametrize(
    ("kind", "number", "line"),
    [
        ("agedb", 2, "a.jpg b.jpg 2"),
        ("agedb", 2, "a.jpg b.jpg"),
        ("agedb", 2, "a.jpg ../b.jpg 1"),
        ("agedb", 2, "/a.jpg b.jpg 1"),
        ("agedb", 2, "a.jpg a.jpg 1"),
        ("calfw", 2, "1_Bob.jpg 0"),
        ("calfw", 2, "0_Ann_30_f.jpg 1"),
        ("calfw", 3, "c\\d.jpg 0"),
        ("calfw", 3, "c.jpg 123"),
    ],
)
def test_malformed_line_of_a_flat_folder_is_named(tmp_path, kind, number, line):
    lines = _cross(kind)[0]
    path = _lfw(tmp_path, [*lines[: number - 1], line, *lines[number:]])
    with pytest.raises(ValueError) as error:
        read_pairs(path)
    assert f"{path}, line {number}: " in str(error.value) and repr(line) in str(error.value)


def test_flat_list_must_have_whole_pairs_of_both_classes(tmp_path):
    lines = _cross("calfw")[0]
    with pytest.raises(ValueError, match="two lines per pair, got 47 lines"):
        read_pairs(_lfw(tmp_path, lines[:-1]))
    with pytest.raises(ValueError, match=r"pairs\.txt: 10 folds need at least 10 impostor pairs, got 0"):
        read_pairs(_lfw(tmp_path, lines[:8] * 5))


YTF = ["split number, pair number, first name, second name, is same"]


def test_ytf_splits_name_videos(tmp_path):
    path = _lfw(tmp_path, [*YTF, "1, 1, Ann_Lee/2, Ann_Lee/0, 1", "2, 500, Ann_Lee/2, Bob/1, 0"])
    expected = ["Ann_Lee/2", "Ann_Lee/2"], ["Ann_Lee/0", "Bob/1"]
    assert _columns(read_pairs(path)) == (*expected, [True, False], [0, 1])
    corrected = _lfw(tmp_path, [*YTF, "1, 1, Ann_Lee/2, Ann_Lee/0, 1, 0", "2, 500, Ann_Lee/2, Bob/1, 0, 0"])
    assert _columns(read_pairs(corrected)) == (*expected, [False, False], [0, 1])


@pytest.mark.parametrize(
    "line", ["1, 1, A/1, B/1", "1, 1, A/1, B/1, 2", "0, 1, A/1, B/1, 0", "1, 1, ../A, B/1, 0", "1, 1, A/1, A/1, 1", ","]
)
def test_malformed_ytf_line_is_named(tmp_path, line):
    with pytest.raises(ValueError, match=r"pairs\.txt, line 2: expected"):
        read_pairs(_lfw(tmp_path, [*YTF, line]))
    with pytest.raises(ValueError, match=r"pairs\.txt: "):
        read_pairs(_lfw(tmp_path, YTF))


def test_long_line_of_separators_is_refused_at_once(tmp_path):
    # A pattern that could split it in many ways would take forever.
    for start in ("", "1, 1, "):
        path = _lfw(tmp_path, [*YTF, start + "a," * 100_000 + "x"])
        with pytest.raises(ValueError, match="line 2"):
            read_pairs(path)
    for piece in ("a ", "a/", " ", "a\t", "1 "):
        with pytest.raises(ValueError, match="line 1"):
            read_pairs(_lfw(tmp_path, ["b" + piece * 100_000 + ";"]))


def test_people_of_both_views(tmp_path):
    assert read_lfw_people(_lfw(tmp_path, ["2", "Ann_Lee\t3", "Bob\t1"])) == [{"Ann_Lee": 3, "Bob": 1}]
    assert read_lfw_people(_lfw(tmp_path, ["2", "1", "Ann_Lee\t3", "2", "Bob\t1", "Cy\t10"])) == [
        {"Ann_Lee": 3},
        {"Bob": 1, "Cy": 10},
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "line 1: expected the number of people"),
        (["x", "A\t1"], "line 1: expected the number of people"),
        (["2", "A\t1"], "line 1 announces 2 people, got 1"),
        (["1", "A\t1", "B\t1"], "line 3: expected the end"),
        (["1", "A\t0"], "line 2: expected a name and a number"),
        (["1", "../A\t1"], "line 2: expected a name and a number"),
        (["2", "A\t1", "A\t1"], "line 3: expected a name that has not occurred"),
        (["2", "1", "A\t1", "1", "A\t2"], "line 5: expected a name that has not occurred"),
        (["2", "1", "A\t1"], "line 4: expected the number of people"),
        (["9999999", "9999999", "A\t1"], "line 2 announces 9999999 people, got 1"),
    ],
)
def test_malformed_people_are_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=rf"pairs\.txt(,|:) {message}"):
        read_lfw_people(_lfw(tmp_path, lines))


def test_table_of_pairs_comes_back(tmp_path):
    pairs = Pairs(["a/1.jpg", "NA", 'q"u,o', "ü\t"], ["b", "nan", "", "1"], [True, False, False, True], [0, 0, 3, 1])
    write_pairs(tmp_path / "new" / "pairs.csv", pairs)
    assert (tmp_path / "new" / "pairs.csv").read_text().splitlines()[:2] == ["left,right,same,fold", "a/1.jpg,b,1,0"]
    assert _columns(read_pairs(tmp_path / "new" / "pairs.csv")) == _columns(pairs)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.csv"]


@pytest.mark.parametrize(
    "row",
    ["a,b,2,0", "a,b,1,-1", "a,b,,0", "a,b,x,0", "a,b,1", "a,b,1,1.5", "a,b,1,0,9", "a,b,1," + "9" * 30, '"a,b,1,0'],
)
def test_malformed_table_is_refused_by_name(tmp_path, row):
    (tmp_path / "pairs.csv").write_text(f"left,right,same,fold\n{row}\n")
    with pytest.raises(ValueError, match=r"pairs\.csv: "):
        read_pairs(tmp_path / "pairs.csv")
    (tmp_path / "pairs.csv").write_text(f"left,right,same,fold\na,b,1,{'9' * 5000}\n")
    with pytest.raises(ValueError) as caught:
        read_pairs(tmp_path / "pairs.csv")
    assert len(str(caught.value)) < 1000
    (tmp_path / "pairs.csv").write_text("left,right,same,fold\n")
    with pytest.raises(ValueError, match=r"pairs\.csv: "):
        read_pairs(tmp_path / "pairs.csv")


def test_names_must_fit_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs_module, "_MAX_COLUMN_BYTES", 10_000)
    write_pairs(tmp_path / "pairs.csv", Pairs(["a" * 1000, "b", "c"], ["d"] * 3, [True] * 3, [0] * 3))
    with pytest.raises(ValueError, match=r"pairs\.csv: 3 names of up to 1000 characters are too many"):
        read_pairs(tmp_path / "pairs.csv")


def test_read_pairs_recognises_file_and_folder(tmp_path):
    assert len(read_pairs(_lfw(tmp_path, LFW))) == 4
    assert len(read_pairs(_cfp(tmp_path) / "FP")) == 5
    for text in ("", "hello", "left,right\n"):
        with pytest.raises(ValueError, match=r"pairs\.txt, line 1: expected the beginning of a list of pairs"):
            read_pairs(_lfw(tmp_path, [text]))
    with pytest.raises(FileNotFoundError):
        read_pairs(tmp_path / "absent")


def test_pairs_refuse_columns_that_do_not_fit():
    good = {"left": ["a", "b"], "right": ["c", "d"], "same": [True, False], "fold": [0, 1]}
    assert len(Pairs(**good)) == 2
    for bad in (
        {"left": ["a"]}, {"right": [1, 2]}, {"same": [1, 0]}, {"same": [True]}, {"fold": [0.0, 1.0]}, {"left": [[]]},
        {"left": [b"a", b"b"]}, {"left": [], "right": [], "same": [], "fold": []},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must be|`right` must be"):
            Pairs(**{**good, **bad})
    with pytest.raises(ValueError):
        Pairs(**good).same[0] = False


def test_restrict_keeps_available_pairs_and_renumbers_folds():
    pairs = Pairs(["a", "a", "b", "d"], ["b", "c", "c", "c"], [True, False, True, False], [0, 1, 4, 7])
    assert pairs.restrict("abcd")[1] == 0
    kept, dropped = pairs.restrict(iter(["a", "c", "d", "unused"]))
    assert _columns(kept) == (["a", "d"], ["c", "c"], [False, False], [0, 1])
    assert dropped == 2
    for keys in (["a", "d"], []):
        with pytest.raises(ValueError, match=f"none of the 4 pairs .* {len(keys)} keys"):
            pairs.restrict(keys)


def _images(counts):
    """Keys and labels of people with the given numbers of images, in shuffled order."""
    people = np.repeat(np.arange(len(counts)), counts)
    people = np.random.default_rng(7).permutation(people)
    return [f"image{number}" for number in range(len(people))], people * 10


def _check_protocol(pairs, keys, labels, count, folds):
    person = dict(zip(keys, labels.tolist(), strict=True))
    assert len(pairs) == count
    assert pairs.fold.tolist() == np.repeat(np.arange(folds), count // folds).tolist()
    assert np.bincount(pairs.fold, pairs.same).tolist() == [count / folds / 2] * folds
    assert [person[a] == person[b] for a, b in zip(pairs.left, pairs.right, strict=True)] == pairs.same.tolist()
    unordered = {frozenset(pair) for pair in zip(pairs.left, pairs.right, strict=True)}
    assert len(unordered) == count and all(len(pair) == 2 for pair in unordered)
    fold_of = collections.defaultdict(set)
    for key, fold in zip([*pairs.left, *pairs.right], [*pairs.fold, *pairs.fold], strict=True):
        fold_of[person[key]].add(fold)
    assert all(len(folds) == 1 for folds in fold_of.values())
    return person


@pytest.mark.parametrize("folds", [1, 2, 10])
@pytest.mark.parametrize("seed", range(5))
def test_sampled_pairs_keep_their_promises(folds, seed):
    keys, labels = _images(np.random.default_rng(seed).integers(1, 12, 80))
    pairs = sample_pairs(keys, labels, 400, seed, folds)
    _check_protocol(pairs, keys, labels, 400, folds)
    assert _columns(pairs) == _columns(sample_pairs(keys, labels, 400, seed, folds))
    assert _columns(pairs) != _columns(sample_pairs(keys, labels, 400, seed + 1, folds))


def test_identities_are_spread_evenly():
    # One person with a hundred images must not fill the protocol, as it would if image pairs were drawn uniformly.
    keys, labels = _images([100] + [5] * 39)
    pairs = sample_pairs(keys, labels, 800, seed=0, folds=2)
    person = _check_protocol(pairs, keys, labels, 800, 2)
    genuine = collections.Counter(person[key] for key in pairs.left[pairs.same])
    assert sorted(genuine.values()) == [10] * 40
    impostor = collections.Counter(person[key] for side in (pairs.left, pairs.right) for key in side[~pairs.same])
    # 200 pairs in a circle of 20 people: 9 rounds of 20 meetings, a round of 10 opposite ones, and 10 second meetings.
    assert max(impostor.values()) - min(impostor.values()) <= 2


def test_every_pair_can_be_drawn():
    keys, labels = _images([3, 3, 1])
    pairs = sample_pairs(keys, labels, 12, seed=3, folds=1)
    _check_protocol(pairs, keys, labels, 12, 1)
    with pytest.raises(ValueError, match="allow only 6 genuine pairs in fold 0, got a request for 7"):
        sample_pairs(keys, labels, 14, seed=3, folds=1)
    keys, labels = _images([9, 1])
    _check_protocol(sample_pairs(keys, labels, 18, seed=0, folds=1), keys, labels, 18, 1)
    with pytest.raises(ValueError, match="allow only 9 impostor pairs in fold 0, got a request for 10"):
        sample_pairs(keys, labels, 20, seed=0, folds=1)


def test_few_identities_are_told_how_many_folds_they_allow():
    keys, labels = _images([4] * 10)
    with pytest.raises(ValueError, match="each of 10 folds needs two identities, got 10: give folds=5 at most"):
        sample_pairs(keys, labels, 20, seed=0)
    _check_protocol(sample_pairs(keys, labels, 20, seed=0, folds=5), keys, labels, 20, 5)


def test_sampling_refuses_bad_arguments():
    keys, labels = _images([4] * 8)
    for bad in (
        {"count": 0}, {"count": 30}, {"folds": 0}, {"keys": ["same"] * 32}, {"labels": labels[:-1]},
        {"folds": 20}, {"keys": keys[:0], "labels": labels[:0]},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            sample_pairs(**{"keys": keys, "labels": labels, "count": 40, "seed": 0, "folds": 4, **bad})
    assert len(sample_pairs(keys, [str(label) for label in labels], 40, 0, 4)) == 40


def test_real_lfw_list(shared_data):
    pairs = read_pairs(shared_data / "protocols" / "lfw_pairs.txt")
    assert np.bincount(pairs.fold, pairs.same).tolist() == [300] * 10
    assert np.bincount(pairs.fold, ~pairs.same).tolist() == [300] * 10
    assert (pairs.left[0], pairs.right[0]) == (
        "Abel_Pacheco/Abel_Pacheco_0001.jpg",
        "Abel_Pacheco/Abel_Pacheco_0004.jpg",
    )


@pytest.mark.parametrize("kind", ["FF", "FP"])
def test_real_cfp_lists_name_real_images_and_hold_out_whole_folds(shared_data, kind):
    pairs = read_pairs(shared_data / "cfp112" / "Protocol" / "Split" / kind)
    assert np.bincount(pairs.fold, pairs.same).tolist() == [350] * 10
    assert np.bincount(pairs.fold, ~pairs.same).tolist() == [350] * 10
    keys = np.unique([*pairs.left, *pairs.right]).tolist()
    assert all((shared_data / "cfp112" / "Data" / "Images" / key).is_file() for key in keys)
    right_side = {key.split("/")[1] for key in pairs.right.tolist()}
    assert right_side == {"frontal" if kind == "FF" else "profile"}
    held_out, dropped = pairs.restrict(key for key in keys if int(key[:3]) > 400)
    assert dropped == 5600
    assert held_out.left.tolist() == pairs.left[pairs.fold >= 8].tolist()
    assert held_out.fold.tolist() == [0] * 700 + [1] * 700


def test_import_needs_no_tensorflow():
    code = "import sys, tfface.data.protocols.pair_lists; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "key, name",
    [
        ("Ann/Ann_0001.png", "Ann/Ann_0001.jpg"),
        ("Ann/Ann_0001.JPG", "Ann/Ann_0001.jpg"),
        ("Ann/Ann_0001.jfif", "Ann/Ann_0001.bmp"),
        ("Ann/Ann_0001.png", "Ann/Ann_0001"),
        ("Jose\u0301/1.jpg", "Jos\u00e9/1.jpg"),
        ("Jos\u00e9/1.png", "Jose\u0301/1.jpg"),
    ],
)
def test_restrict_finds_names_under_another_extension_or_unicode_form(key, name):
    pairs = Pairs([name, name], ["b.jpg", "absent.jpg"], [True, False], [0, 1])
    kept, dropped = pairs.restrict([key, "b.jpg"])
    assert (_columns(kept), dropped) == (([key], ["b.jpg"], [True], [0]), 1)
    assert kept.completeness == (2, 1, ("absent.jpg",), "pairs")
    assert str(kept.completeness) == "1 of 2 pairs missing, such as those of 'absent.jpg'"


@pytest.mark.parametrize(
    "keys, names",
    [
        (["a.png", "a.jpeg"], ["a.jpg"]),  # Two keys could be meant.
        (["a.png"], ["a.jpg", "a.png"]),  # Two names of the list would be one image.
        (["video.1"], ["video.2"]),  # Not the extension of a picture.
    ],
)
def test_restrict_does_not_guess(keys, names):
    pairs = Pairs([*names, "c"], ["b"] * (len(names) + 1), [True] * (len(names) + 1), [0] * (len(names) + 1))
    kept, dropped = pairs.restrict([*keys, "b", "c"])
    assert dropped == 1 and names[0] in kept.completeness.examples


def test_names_between_tabs_may_hold_spaces(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("1\nAnn Lee\t1\t2\nAnn Lee\t1\tVan der Berg\t3\n")
    assert _columns(read_pairs(path)) == (
        ["Ann Lee/Ann Lee_0001.jpg"] * 2,
        ["Ann Lee/Ann Lee_0002.jpg", "Van der Berg/Van der Berg_0003.jpg"],
        [True, False],
        [0, 0],
    )
    path.write_text("".join(f"a b/{i}, x.jpg\tc d/{i}.jpg\t{i % 2}\n" for i in range(20)))
    pairs = read_pairs(path)
    assert (pairs.left[3], pairs.right[3], pairs.same[3]) == ("a b/3, x.jpg", "c d/3.jpg", True)
    path.write_text("".join(f"a b/{i}.jpg\t{i // 2 % 2}\n" for i in range(40)))
    assert read_pairs(path).left[1] == "a b/2.jpg"
    for line in ("../a b\tc\t1", "a\t/b c\t1", "a b c 1"):
        path.write_text(f"{line}\n" * 20)
        with pytest.raises(ValueError, match="line 1"):
            read_pairs(path)
