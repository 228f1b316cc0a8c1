"""Lists of images as a source, and lists of templates and of MegaFace."""

import json
import os
import pickle

import numpy as np
import pytest

from tfface.data.conversion.plan import list_items
from tfface.data.protocols import megaface_lists, templates
from tfface.data.sources.image_lists import ListSource

LANDMARKS = ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy")


@pytest.fixture
def touch(tmp_path):
    """Function that makes the files of these names below the folder of the test."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(name.encode())

    return make


def test_csv_with_landmarks(tmp_path, touch):
    touch("a/1.jpg", "NA", "deep/er/2.png", "1.jpg", "2.jpg", "3.jpg")
    rows = ["path,label", "a/1.jpg,Ann", "NA,nan", 'deep/er/2.png,"Bob, Jr."']
    (tmp_path / "list.csv").write_text("\n".join(rows))
    source = ListSource(tmp_path / "list.csv")
    expected = [("a/1.jpg", "Ann", None), ("NA", "nan", None), ("deep/er/2.png", "Bob, Jr.", None)]
    assert [(item.key, item.identity, item.landmarks) for item in source.items()] == expected
    rows = [f"more,label,path,{LANDMARKS}", "x,Ann,1.jpg,0.5,1,2,3,4,5,6,7,8,9", "x,Bob,2.jpg" + "," * 10, "x,Cy,3.jpg"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    items = list(source.items())
    assert [item.landmarks for item in items] == [(0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9), None, None]
    assert [item.key for item in items] == ["1.jpg", "2.jpg", "3.jpg"] and source.skipped == []


def test_long_list_is_read_by_chunks(tmp_path, touch, monkeypatch):
    touch(*(f"{n}.jpg" for n in range(50)))
    monkeypatch.setattr("tfface.data.formats.text_lists._CSV_CHUNK", 7)
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{n}.jpg,{n % 5}\n" for n in range(50)))
    items = list(ListSource(tmp_path / "list.csv").items())
    assert [(item.key, item.identity) for item in items] == [(f"{n}.jpg", str(n % 5)) for n in range(50)]


def test_lst_of_mxnet(tmp_path, touch, shared_data):
    touch(*(f"{person}/{person}_{number}.jpg" for person in ("man", "woman") for number in range(1, 5)), "a b/1.jpg")
    items = list(ListSource(shared_data / "formats" / "tiny_rec" / "train.lst", tmp_path).items())
    assert sorted({(item.identity, item.key.split("/")[0]) for item in items}) == [
        ("00000000", "man"),
        ("00000001", "woman"),
    ]
    assert len(items) == 8
    (tmp_path / "a.lst").write_text("3\t7.000000\t0.5\ta b/1.jpg\r\n")
    (item,) = ListSource(tmp_path / "a.lst").items()
    assert (item.key, item.identity) == ("a b/1.jpg", "00000007")


UNSAFE = [
    "../a.jpg",
    "/etc/passwd",
    "a/../../b.jpg",
    "a//b.jpg",
    "a/./b.jpg",
    "C:/b.jpg",
    "a\\..\\..\\b.jpg",
    ".",
    "./../a.jpg",
    "",
    "a\0.jpg",
    "a/",
    "x" * 1025,
]


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("name", ["list.csv", "list.lst"])
def test_path_out_of_the_root_is_refused(tmp_path, touch, path, name):
    touch("ok.jpg")
    text = f"path,label\nok.jpg,1\n{path},1\n" if name.endswith("csv") else f"0\t1\tok.jpg\n1\t1\t{path}\n"
    (tmp_path / name).write_text(text)
    source = ListSource(tmp_path / name)
    assert [item.key for item in source.items()] == ["ok.jpg"]
    ((place, reason),) = source.skipped
    assert place == ("line 3" if name.endswith("csv") else "line 2") and "expected a" in reason and len(reason) < 400


@pytest.mark.parametrize(
    "row", ["a,", "a,b,1" + "," * 9, "a,b" + ",x" * 10, "a,b" + ",inf" * 10, "a,b" + ",1" * 9 + ",", "a,b\x07"]
)
def test_bad_row_is_listed_with_its_number(tmp_path, touch, row):
    touch("ok.jpg", "also.jpg", "a")
    (tmp_path / "list.csv").write_text(f"path,label,{LANDMARKS}\nok.jpg,1\n{row}\nalso.jpg,1\n")
    source = ListSource(tmp_path / "list.csv")
    assert [item.key for item in source.items()] == ["ok.jpg", "also.jpg"]
    assert [place for place, _ in source.skipped] == ["line 3"]


@pytest.mark.parametrize(
    "line",
    [
        "1\ta.jpg",
        "1\tx\ta.jpg",
        "1\t0.5\ta.jpg",
        "1\t-1\ta.jpg",
        "1\tnan\ta.jpg",
        "1",
        "1\tinf\ta.jpg",
        "1\t1e9\ta",
        "1\t1.x" + "9" * 5000 + "\ta",
    ],
)
def test_bad_line_is_listed_with_its_number(tmp_path, touch, line):
    touch("ok.jpg", "a.jpg", "a")
    (tmp_path / "a.lst").write_text(f"0\t0\tok.jpg\n{line}\n")
    source = ListSource(tmp_path / "a.lst")
    assert len(list(source.items())) == 1
    ((place, reason),) = source.skipped
    assert place == "line 2" and len(reason) < 500


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"path\na.jpg\n",
        b"a.jpg,1\n",
        b"path,label\na.jpg,1,2\n",
        b"\xff\xfe,\n",
        b'"path,label\na,1',
        b"path,label" + b"," * 5000,
    ],
)
def test_file_that_is_no_list_is_refused_by_name(tmp_path, content):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"list\.csv: "):
        list(ListSource(tmp_path / "list.csv").items())


def test_endless_line_is_refused(tmp_path):
    (tmp_path / "a.lst").write_bytes(b"0\t0\t" + b"a" * 100_000)
    with pytest.raises(ValueError, match=r"a\.lst: .* a line has more than"):
        list(ListSource(tmp_path / "a.lst").items())


def test_files_are_read_below_the_root_only(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "1.jpg").write_bytes(b"one")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret")
    (root / "inside.jpg").symlink_to("1.jpg")
    os.mkfifo(root / "pipe.jpg")
    names = ["1.jpg", "inside.jpg", "link.jpg", "pipe.jpg", "absent.jpg"]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{name},1\n" for name in names))
    source = ListSource(tmp_path / "list.csv", root)
    one, inside, link, pipe = source.items()
    assert source.skipped == [("absent.jpg (line 6)", "No such file or directory")]
    assert source.read(one) == source.read(inside) == b"one"
    assert pickle.loads(pickle.dumps(source)).read(one) == b"one"
    for item, reason in ((link, "out of the root"), (pipe, "not a regular file")):
        with pytest.raises(ValueError, match=reason):
            source.read(item)
    before = source.fingerprint
    (root / "1.jpg").write_bytes(b"other")
    list(source.items())
    assert source.fingerprint != before


def test_ijb_lists(tmp_path):
    (tmp_path / "faces.txt").write_text("1.jpg 1 69544\n2.jpg 1 10\n10.jpg 7 10\n")
    faces = templates.read_template_faces(tmp_path / "faces.txt")
    assert faces.names == ["1.jpg", "2.jpg", "10.jpg"]
    assert faces.template.tolist() == [1, 1, 7] and faces.medium.tolist() == [69544, 10, 10]
    (tmp_path / "pairs.txt").write_text("1 11065 1\n1 11066 0\n")
    pairs = templates.read_template_pairs(tmp_path / "pairs.txt")
    assert [column.tolist() for column in pairs] == [[1, 1], [11065, 11066], [True, False]]
    (tmp_path / "gallery.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n1,100,img/1.jpg\n2,103,\n")
    columns = templates.read_template_subjects(tmp_path / "gallery.csv")
    assert [column.tolist() for column in columns] == [[1, 2], [100, 103]]
    (tmp_path / "points.txt").write_text("1.jpg " + " ".join(map(str, np.arange(10) / 2)) + " 0.99\n")
    detected = templates.read_detected_faces(tmp_path / "points.txt")
    assert detected.names == ["1.jpg"] and detected.score.tolist() == [0.99]
    assert detected.landmarks.tolist() == [[[0, 0.5], [1, 1.5], [2, 2.5], [3, 3.5], [4, 4.5]]]


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (
            templates.read_template_faces,
            "1.jpg 1 2",
            ["1.jpg 1", "1.jpg 1 2 3", "1.jpg 1 x", "../1.jpg 1 2", "1.jpg 1 1.5"],
        ),
        (templates.read_template_pairs, "1 2 1", ["1 2 2", "1 2", "1 2 1 1", "1 x 1", "1 2 999"]),
        (templates.read_template_subjects, "T,S\n1,2", ["x,2", "1", "9" * 30 + ",1"]),
        (
            templates.read_detected_faces,
            "1.jpg" + " 1" * 11,
            ["1.jpg" + " 1" * 10, "1.jpg" + " nan" * 11, "1.jpg" + " 1" * 12, "1.jpg" + " 1" * 10 + " x" + "9" * 5000],
        ),
    ],
)
def test_malformed_ijb_list_is_refused_by_name(tmp_path, reader, good, bad):
    path = tmp_path / "meta.txt"
    path.write_text(good + "\n")
    assert len(reader(path)[0]) == 1
    for line in (*bad, "\xff\xfe"):
        path.write_text(f"{good}\n{line}\n", encoding="latin-1")
        with pytest.raises(ValueError, match=r"meta\.txt: ") as caught:
            reader(path)
        assert len(str(caught.value)) < 1000
    path.write_text("")
    with pytest.raises(ValueError, match=r"meta\.txt: "):
        reader(path)
    path.write_text("1 " * 4096)  # Every column would take memory.
    with pytest.raises(ValueError, match=r"meta\.txt: expected a first line of at most 4096 bytes"):
        reader(path)


PROBES = ["Aaron_Eckhart/Aaron_Eckhart_1.png", "Aaron_Eckhart/Aaron_Eckhart_136.png"]
DISTRACTORS = ["375/37531198@N00/4174611825_0.jpg", "925/92596048@N00/3910487430_2.jpg"]


def test_megaface_lists_and_noise(tmp_path):
    path = tmp_path / "lst"
    for parts, keys in ((megaface_lists.PROBE_PARTS, PROBES), (megaface_lists.DISTRACTOR_PARTS, DISTRACTORS)):
        path.write_text("".join(f"/data/images/{key}\n" for key in keys))
        assert megaface_lists.read_megaface_list(path, parts) == keys
        path.write_text(json.dumps({"path": keys, "id": ["x"] * 2}))
        assert megaface_lists.read_megaface_list(path, parts) == keys
    noise = tmp_path / "noises.txt"
    noise.write_text("#Please follow\nAaron_Eckhart_136.png\n")
    assert megaface_lists.find_noise(PROBES, noise).tolist() == [False, True]
    noise.write_text(f"#Please follow\n1\t{DISTRACTORS[0]}\n3910487430_9.jpg\n")
    assert megaface_lists.find_noise(DISTRACTORS, noise).tolist() == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg\n",
        "x/../a.jpg\n",
        "x/\n",
        "{",
        '{"path": 3}',
        '{"path": [1]}',
        '{"id": []}',
        '{"path": ["/../a"]}',
        '{"a":' + "[" * 100_000,
    ],
)
def test_malformed_megaface_list_is_refused_by_name(tmp_path, text):
    (tmp_path / "lst").write_text(text)
    with pytest.raises(ValueError, match=r"lst(:|, entry 1:) "):
        megaface_lists.read_megaface_list(tmp_path / "lst", 2)


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.lst", "0\t0.0\ta/1.jpg\n1\t1.0\tb/1.jpg\n\n"),
        ("a.lst", "0\t0.0\t./a/1.jpg\n\n1\t1.0\t.//b/1.jpg\n"),
        ("a.lst", "1\ta/1.jpg\t0\n1\tb/1.jpg\t1\n"),
        ("a.lst", "\ufeff1\tROOT/a/1.jpg\t0\r\n1\tROOT/b/1.jpg\t1\r\n"),
        ("a.lst", "0\t0\ta\\1.jpg\n1\t1\t.\\b\\1.jpg\n"),
        ("a.csv", "path,label\na\\1.jpg,00000000\nROOT/b/1.jpg,00000001\n\n"),
        ("a.csv", '"path","label"\n"a/1.jpg","00000000"\n\n"b/1.jpg","00000001"\n'),
        ("a.csv", "path\tlabel\na/1.jpg\t00000000\n./b/1.jpg\t00000001\n"),
        ("a.csv", "label, path\n00000000, a/1.jpg\n00000001, b/1.jpg\n"),
    ],
)
def test_lists_of_many_spellings_are_read(tmp_path, touch, name, text):
    touch("a/1.jpg", "b/1.jpg")
    (tmp_path / name).write_text(text.replace("ROOT", str(tmp_path)))
    source = ListSource(tmp_path / name)
    items = list(source.items())
    assert [(item.key, item.identity) for item in items] == [("a/1.jpg", "00000000"), ("b/1.jpg", "00000001")]
    assert source.skipped == []


def test_a_line_that_cannot_be_read_says_what_is_accepted(tmp_path, touch):
    touch("a/1.jpg")
    (tmp_path / "a.lst").write_text("0\t0\ta/1.jpg\n\n1\tAnn\tann/1.jpg\n")
    source = ListSource(tmp_path / "a.lst")
    assert len(list(source.items())) == 1
    ((place, reason),) = source.skipped
    assert place == "line 3" and "'flag, path, label'" in reason and "Ann" in reason


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_numbers_count_the_lines_of_the_file(tmp_path, touch, start, end):
    touch("a/1.jpg", "b/1.jpg")
    lines = ["path,note,label", 'a/1.jpg,"two', 'lines",Ann', "", "# a comment", "b/1.jpg,,Bob", "gone.jpg,,Cy"]
    (tmp_path / "a.csv").write_bytes((start + end.join(lines)).encode())
    source = ListSource(tmp_path / "a.csv")
    items = {item.identity: source.where(item) for item in source.items()}
    assert items == {"Ann": "a/1.jpg (line 2)", "Bob": "b/1.jpg (line 6)"}
    assert [place for place, _ in source.skipped] == ["line 5", "gone.jpg (line 7)"]
    lines = ["0\t0\ta/1.jpg", "", "# a comment", "1\t1\tb/1.jpg", "2\t2\tgone.jpg"]
    (tmp_path / "a.LST").write_bytes((start + end.join(lines)).encode())
    source = ListSource(tmp_path / "a.LST")
    assert [source.where(item) for item in source.items()] == ["a/1.jpg (line 1)", "b/1.jpg (line 4)"]
    assert [place for place, _ in source.skipped] == ["line 3", "gone.jpg (line 5)"]


def test_text_that_is_not_utf8_is_named_by_its_line(tmp_path, touch):
    touch("a/1.jpg")
    (tmp_path / "a.csv").write_bytes("path,label\na/1.jpg,Ann\na/1.jpg,Jos\u00e9\n".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"a\.csv: .*line 3 is not UTF-8: b'a/1.jpg,Jos.xe9.n'; save the list as UTF-8"
    ):
        list(ListSource(tmp_path / "a.csv").items())
    (tmp_path / "a.lst").write_bytes("0\t0\ta/1.jpg\n0\t0\tJos\u00e9.jpg\n".encode("latin-1"))
    source = ListSource(tmp_path / "a.lst")
    assert len(list(source.items())) == 1
    ((place, reason),) = source.skipped
    assert place == "line 2" and reason.startswith("expected UTF-8, got") and "as UTF-8" in reason


def test_one_image_twice_is_refused_with_both_lines(tmp_path, touch):
    touch("a/1.jpg", "b/1.jpg")
    for other in ("a/1.jpg", "./a/1.jpg", "a\\1.jpg", f"{tmp_path}/a/1.jpg"):
        (tmp_path / "a.csv").write_text(f"path,label\na/1.jpg,Ann\nb/1.jpg,Bob\n{other},Cy\n")
        with pytest.raises(ValueError, match=r"'a/1.jpg' occurs twice: a/1.jpg \(line 2\) and a/1.jpg \(line 4\)"):
            list_items(ListSource(tmp_path / "a.csv"))


def test_absolute_paths_lead_below_the_root_or_are_refused_with_it(tmp_path, touch):
    touch("real/a/1.jpg")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    places = [tmp_path / "real/a/1.jpg", tmp_path / "linked/a/1.jpg", "/etc/passwd", "C:\\photos\\1.jpg"]
    (tmp_path / "a.csv").write_text("path,label\n" + "".join(f"{place},Ann\n" for place in places))
    source = ListSource(tmp_path / "a.csv", tmp_path / "linked")
    assert [item.key for item in source.items()] == ["a/1.jpg", "a/1.jpg"]
    assert [(place, str(tmp_path / "linked") in reason) for place, reason in source.skipped] == [
        ("line 4", True),
        ("line 5", True),
    ]


def test_a_list_without_any_of_its_images_asks_for_the_root(tmp_path, touch):
    touch("images/a/1.jpg")
    (tmp_path / "a.csv").write_text("path,label\na/1.jpg,Ann\nb/1.jpg,Bob\n")
    with pytest.raises(ValueError, match=r"none of its 2 images is in .*, such as 'a/1.jpg'; --root names"):
        list(ListSource(tmp_path / "a.csv").items())
    source = ListSource(tmp_path / "a.csv", tmp_path / "images")
    assert [item.key for item in source.items()] == ["a/1.jpg"]
    assert source.skipped == [("b/1.jpg (line 3)", "No such file or directory")]
