"""The reader of JSON: what it takes is what Python's own takes, within bounds, and its errors name file and place."""

import json
import os
import random
import subprocess
import sys

import pytest

from tfface import json_files
from tfface.data.records import DatasetInfo
from tfface.json_files import COUNT, POSITIVE, Either, Number, Optional

FORM = {
    "name": str,
    "images": POSITIVE,
    "size": Either(None, (POSITIVE, POSITIVE)),
    "shards": [{"file": str, "images": POSITIVE, Optional("rate"): Number(0, 1, whole=False)}],
    "places": {str: COUNT},
    Optional("more"): object,
}


def valid():
    return {
        "name": "é [",
        "images": 3,
        "size": [1, 2],
        "shards": [{"file": "a", "images": 1}, {"file": "b", "images": 2, "rate": 1}],
        "places": {"x y": 0},
    }


def random_value(rng, depth=0):
    kind = rng.randrange(5 if depth > 5 else 7)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {random_text(rng): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    plain = [None, True, rng.randrange(-(2**63), 2**63), rng.uniform(-1e300, 1e300), random_text(rng)]
    return plain[kind]


def random_text(rng):
    return "".join(rng.choice('ab"\\[]{}\n\0é\U0001f600\ud7ff,:') for _ in range(rng.randrange(8)))


def test_reads_what_pythons_reader_reads(tmp_path):
    rng = random.Random(0)
    for _ in range(500):
        value = random_value(rng)
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
        assert json_files.parse(text.encode(), "a") == json.loads(text) == value
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(valid()), encoding="utf-8")
    assert json_files.read(tmp_path / "a.json", FORM) == valid()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON .*line 1, column 1"),
        (b'{"a": 1', "not JSON"),
        (b"[1e400]", "too large, 1e400"),
        (b"[-1e400]", "too large, -1e400"),
        (b"[NaN]", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"[9223372036854775808]", "more than 64 bits"),
        (b"[" + b"9" * 5000 + b"]", "more than 64 bits"),
        (b"[" * 200 + b"]" * 200, "nested more than 64 deep"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b'{"a":' * 100_000, "nested more than 64 deep"),
        (b'["\\"]", ' + b"[" * 200 + b"]" * 200 + b"]", "nested more than 64 deep"),
        (b'{"a": {"b": 1, "b": 2}}', 'name "b" occurs twice'),
        (b'{"a": [1, "\\ud800"]}', r"a\[1\]: half a character"),
        (b'{"\\uDC00": 1}', "half a character"),
        (b'["\xed\xa0\x80"]', "not JSON in UTF-8"),
        ("[1]".encode("utf-16"), "not JSON in UTF-8"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused_by_name(text, reason):
    with pytest.raises(ValueError, match=rf"^a\.json: .*{reason}") as error:
        json_files.parse(text, "a.json")
    assert len(str(error.value)) < 300


def test_brackets_in_strings_do_not_nest():
    for text in ('"' + "[" * 1000 + '"', '["\\\\", "\\"' + "{" * 1000 + '", "' + "]" * 1000 + '"]'):
        assert json_files.parse(text.encode(), "a") == json.loads(text)
    assert json_files.parse(b"[" * 60 + b"]" * 60, "a") == json.loads("[" * 60 + "]" * 60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it.update(name=1), "name: expected a string, got 1"),
        (lambda it: it.update(images=True), "images: expected a whole number of at least 1, got true"),
        (lambda it: it.update(images=1.0), r"images: expected a whole number of at least 1, got 1\.0"),
        (lambda it: it.update(images=0), "images: expected a whole number of at least 1, got 0"),
        (lambda it: it.update(size=[1]), r"size: expected null or a list of 2, got a list of 1"),
        (lambda it: it.update(shards={}), "shards: expected a list, got an object of 0 fields"),
        (lambda it: it["shards"][1].update(images="2"), r"shards\[1\]\.images: expected .*, got \"2\""),
        (lambda it: it["shards"][1].update(rate=1.5), r"shards\[1\]\.rate: expected a number from 0 to 1, got 1\.5"),
        (lambda it: it["shards"][0].pop("file"), r"shards\[0\]: expected an object with 'file'"),
        (lambda it: it["shards"].append([]), r"shards\[2\]: expected an object, got a list of 0"),
        (lambda it: it["places"].update({"x y": -1}), r'places\["x y"\]: expected a whole number of at least 0'),
        (lambda it: it.update(other=1), 'expected images, .* only, got "other"'),
    ],
)
def test_the_place_that_is_not_of_the_form_is_named(change, message):
    value = valid()
    change(value)
    with pytest.raises(ValueError, match=f"^a.json: {message}"):
        json_files.parse(json.dumps(value).encode(), "a.json", FORM)


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    (tmp_path / "a.json").write_text("[1]" + " " * 100)
    with pytest.raises(ValueError, match="a.json: expected at most 50 bytes, got 103 bytes"):
        json_files.read(tmp_path / "a.json", limit=50)
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match=f"{path}: not a regular file"):
            json_files.read(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        json_files.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it.update(images=True), "images: expected a whole number of at least 1, got true"),
        (lambda it: it.update(identities=2.0), "identities: expected a whole number"),
        (lambda it: it["shards"][0].update(images=True), r"shards\[0\]\.images: expected a whole number"),
        (lambda it: it.update(landmarks=2), "landmarks is 2, but there are 1 images"),
        (lambda it: it["label_map"].append(7), r"label_map\[2\]: expected a string, got 7"),
        (lambda it: it.update(image_size=[0, 1]), "image_size"),
        (lambda it: it.update(schema_version=True), "schema_version"),
    ],
)
def test_descriptions_of_datasets_are_of_the_right_types(tmp_path, change, message):
    shards = [{"file": "a-00000-of-00001.tfrecord", "images": 1, "sha256": "0" * 64}]
    content = {"schema_version": 1, "name": "a", "images": 1, "identities": 2, "image_size": None, "landmarks": 0}
    content |= {"label_map": ["x", "y"], "shards": shards}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert DatasetInfo.load(tmp_path).label_map == ("x", "y")
    change(content)
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"dataset.json.*{message}"):
        DatasetInfo.load(tmp_path)


def test_needs_no_tensorflow():
    code = "import sys; sys.modules['tensorflow'] = None; import tfface.json_files"
    subprocess.run([sys.executable, "-c", code], check=True)
