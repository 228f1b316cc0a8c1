"""From embeddings to results, tables and JSON."""

import csv
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tfface.data.protocols.pair_lists import Pairs, sample_pairs
from tfface.evaluation import (
    histogram_figure,
    html_report,
    kfold_accuracy,
    plot_report,
    roc_figure,
    tar_at_far,
    to_csv,
    to_json,
    to_svg,
    to_table,
    verify,
)


@pytest.fixture(scope="module")
def people():
    """Embeddings of 20 people with 6 images each, of very different lengths, and a protocol of 4 folds."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 6)
    embeddings = rng.normal(size=(20, 16))[labels] + rng.normal(size=(120, 16))
    embeddings *= 10 ** rng.uniform(-6, 6, (120, 1))
    keys = [f"{label}/{number}.jpg" for number, label in enumerate(labels)]
    return embeddings, keys, sample_pairs(keys, labels, 400, seed=0, folds=4)


def test_verify_against_loops(people):
    embeddings, keys, pairs = people
    result = verify(embeddings, keys, pairs, name="toy", fars=(0.1, 0.001))
    row = dict(zip(keys, embeddings, strict=True))
    scores = np.array([
        row[a] @ row[b] / np.sqrt(row[a] @ row[a]) / np.sqrt(row[b] @ row[b])
        for a, b in zip(pairs.left, pairs.right, strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(result.genuine_scores, scores[pairs.same], atol=1e-14)
    np.testing.assert_allclose(result.impostor_scores, scores[~pairs.same], atol=1e-14)
    assert result.name == "toy"
    assert result.accuracy.per_fold.tolist() == kfold_accuracy(scores, pairs.same, pairs.fold).per_fold.tolist()
    assert 0.8 < result.accuracy.mean < 1 and 0 < result.eer < 0.2 and 0.9 < result.auc < 1
    expected = tar_at_far(result.genuine_scores, result.impostor_scores, [0.1, 0.001])
    assert result.tar_at_far[0.1] == expected[0.1]
    assert np.isnan(result.tar_at_far[0.001].tar)


def test_order_and_unused_rows_do_not_matter(people):
    embeddings, keys, pairs = people
    order = np.random.default_rng(1).permutation(len(keys))
    shuffled = np.concatenate([[np.full(16, np.nan)], embeddings[order]])
    result = verify(shuffled, ["unused", *(keys[index] for index in order)], pairs)
    expected = verify(embeddings, np.array(keys), pairs)
    assert result.genuine_scores.tolist() == expected.genuine_scores.tolist()
    assert result.impostor_scores.tolist() == expected.impostor_scores.tolist()


def test_more_pairs_than_a_block():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 50, (2, 9000))
    pairs = Pairs(left.astype(str), right.astype(str), left == right, np.arange(9000) % 3)
    embeddings = rng.normal(size=(50, 8)).astype(np.float32)
    result = verify(embeddings, [str(number) for number in range(50)], pairs)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = np.sum(unit[left] * unit[right], axis=1)
    np.testing.assert_allclose(result.impostor_scores, expected[left != right], atol=1e-6)
    np.testing.assert_allclose(result.genuine_scores, 1, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_unusable_embedding_is_named(people, value):
    embeddings, keys, pairs = people
    broken = embeddings.copy()
    broken[keys.index(pairs.right[7])] = value
    with pytest.raises(ValueError, match=f"finite and not zero.*{pairs.right[7]}"):
        verify(broken, keys, pairs)


def test_unusable_arguments_are_refused(people):
    embeddings, keys, pairs = people
    repeated = [keys[1], *keys[1:]]
    held_out = pairs.restrict([*pairs.left[pairs.fold == 2], *pairs.right[pairs.fold == 2]])[0]
    for arguments, message in (
        ((embeddings[:-1], keys, pairs), r"must be \[120, D\].*\(119, 16\)"),
        ((embeddings[:, 0], keys, pairs), r"must be \[120, D\]"),
        ((embeddings, repeated, pairs), f"{keys[1]}' more than once"),
        ((embeddings[1:], keys[1:], pairs), f"1 images .* no embedding, among them '{keys[0]}'.*restrict"),
        ((embeddings, keys, held_out), "at least 2 are needed"),
    ):
        with pytest.raises(ValueError, match=message):
            verify(*arguments)


def test_table_is_aligned_and_honest_about_small_protocols(people):
    embeddings, keys, pairs = people
    result = verify(embeddings, keys, pairs, name="a protocol", fars=(0.1, 0.001))
    other = dataclasses.replace(result, name="b", tar_at_far={0.1: result.tar_at_far[0.1]})
    header, rule, first, second = to_table([result, other]).split("\n")
    assert len(header) == len(rule) == len(first) == len(second)
    assert header.split("  ")[0].strip() == "protocol"
    assert first.startswith("a protocol ") and second.startswith("b  ")
    assert f"{100 * result.accuracy.mean:.2f} ± {100 * result.accuracy.std:.2f}" in first
    assert [header.index("(FAR 0.1)") < header.index("(FAR 0.001)")] == [True]
    assert first.endswith(" n/a") and second.endswith(" -")
    assert f"{100 * result.tar_at_far[0.1].tar:.2f}" in first


def test_json_is_strict_and_complete(people, tmp_path):
    embeddings, keys, pairs = people
    result = dataclasses.replace(verify(embeddings, keys, pairs, fars=(0.1, 0.001)), threshold=-np.inf)
    path = tmp_path / "new" / "report.json"
    to_json([result], path, context={"flip": "sum", "pairs_sha256": "ab"})

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert document["context"] == {"flip": "sum", "pairs_sha256": "ab"}
    (written,) = document["results"]
    assert (written["genuine_pairs"], written["impostor_pairs"], written["threshold"]) == (200, 200, None)
    assert written["accuracy"]["per_fold"] == result.accuracy.per_fold.tolist()
    assert written["accuracy"]["mean"] == result.accuracy.mean
    assert (written["auc"], written["eer"]) == (result.auc, result.eer)
    point = result.tar_at_far[0.1]
    assert written["tar_at_far"] == [
        {"far": 0.1, "tar": point.tar, "threshold": point.threshold, "measured_far": point.measured_far},
        {"far": 0.001, "tar": None, "threshold": None, "measured_far": None},
    ]


def test_json_has_further_sections(people, tmp_path):
    to_json([verify(*people)], tmp_path / "report.json", groups={"a": [1]}, angles=None)
    document = json.loads((tmp_path / "report.json").read_text())
    assert list(document) == ["context", "results", "groups", "angles"]
    assert document["groups"] == {"a": [1]}


def test_csv_holds_the_numbers_of_the_json(people, tmp_path):
    embeddings, keys, pairs = people
    results = [verify(embeddings, keys, pairs, 'a, "b"', (0.1, 0.001)), verify(embeddings, keys, pairs, "c", (0.05,))]
    results[1] = dataclasses.replace(results[1], threshold=np.inf)
    to_csv(results, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first)[-3:] == ["tar_at_far_0.1", "tar_at_far_0.05", "tar_at_far_0.001"]
    assert (first["name"], first["genuine_pairs"], first["impostor_pairs"]) == ('a, "b"', "200", "200")
    for column, number in (
        ("accuracy", results[0].accuracy.mean),
        ("accuracy_std", results[0].accuracy.std),
        ("auc", results[0].auc),
        ("eer", results[0].eer),
        ("threshold", results[0].threshold),
        ("tar_at_far_0.1", results[0].tar_at_far[0.1].tar),
    ):
        assert float(first[column]) == number
    assert first["tar_at_far_0.05"] == first["tar_at_far_0.001"] == second["threshold"] == ""


def test_failed_write_keeps_the_old_file(people, tmp_path, monkeypatch):
    embeddings, keys, pairs = people
    result = verify(embeddings, keys, pairs)
    path = tmp_path / "report.json"
    to_json([result], path)
    old = path.read_bytes()
    for context in ({"path": tmp_path}, {"loss": np.nan}):
        with pytest.raises(ValueError):
            to_json([result], path, context)

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        to_json([], path)
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_import_needs_no_tensorflow_and_leaves_pyplot_alone():
    code = "import sys, tfface.evaluation as e; sys.exit(bool({'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_result_shows_one_line_and_is_a_table_by_itself(people):
    result = verify(*people, name="toy")
    assert "\n" not in repr(result) and len(repr(result)) < 150
    assert repr(result).startswith(f"VerificationResult('toy': accuracy {100 * result.accuracy.mean:.2f} ± ")
    assert to_table(result) == to_table([result])


def test_every_report_takes_one_result_or_several(people, tmp_path):
    result = verify(*people, name="toy")
    for write, suffix in ((to_csv, "csv"), (to_json, "json")):
        write(result, tmp_path / f"one.{suffix}")
        write([result], tmp_path / f"list.{suffix}")
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"list.{suffix}").read_bytes()
    for draw in (roc_figure, histogram_figure):
        assert to_svg(draw(result)) == to_svg(draw([result]))
    plot_report(result, tmp_path / "report.png", "title")
    html_report(tmp_path / "one.html", "title", result, context={})
    html_report(tmp_path / "list.html", "title", [result], context={})
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "list.html").read_bytes()
