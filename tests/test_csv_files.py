"""CSV files: keys survive what is read back, and no foreign name is a formula in what people open."""

import csv

import numpy as np

from tfface import csv_files, data
from tfface.data.curation import integrity, overlap
from tfface.data.protocols.pairs import read_pairs_table
from tfface.evaluation import kfold_accuracy
from tfface.evaluation.metrics import verification
from tfface.evaluation.reports import tables

NAMES = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\tx", "\r=1", "-a", "=1", "plain", "a,b", 'q"q', "'x", "é"]


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_no_text_of_a_report_is_a_formula_and_numbers_stay_numbers(tmp_path):
    numbers = [-1, 2.5, -1e-300, float(np.float64(0.1)), "-0.25", "+3", "-", None]
    csv_files.write_report(tmp_path / "a.csv", ["=name", "n"], [[name, 1] for name in NAMES] + [numbers])
    header, *rows, last = read(tmp_path / "a.csv")
    assert header == ["'=name", "n"]
    for name, (cell, _) in zip(NAMES, rows, strict=True):
        assert cell[0] not in "=+-@\t\r" and cell.removeprefix("'" if cell != name else "").replace("\\r", "\r") == name
    assert [cell for (cell, _) in rows[8:]] == NAMES[8:]
    assert last == ["-1", "2.5", "-1e-300", "0.1", "-0.25", "+3", "-", ""]


def test_reports_of_foreign_names_have_no_formula(tmp_path):
    accuracy = kfold_accuracy([0.9, 0.1] * 10, [True, False] * 10, np.arange(20) // 10)
    points = verification.tar_at_far(np.full(10, 0.9), np.full(10, 0.1), [0.1])
    results = [tables.VerificationResult(name, accuracy, 1.0, 0.0, points, -0.5, [0.9], [0.1]) for name in NAMES]
    tables.to_csv(results, tmp_path / "results.csv")
    _, *rows = read(tmp_path / "results.csv")
    assert all(row[0][0] not in "=+-@\t\r" for row in rows) and {row[7] for row in rows} == {"-0.5"}

    found = integrity.Verification(0, [(name, name) for name in NAMES], None, [])
    integrity.write_report(tmp_path / "verification.csv", found)
    _, *rows = read(tmp_path / "verification.csv")
    assert len(rows) == len(NAMES) and all(cell[:1] not in set("=+-@\t\r") for row in rows for cell in row)


def test_keys_of_tables_survive_the_round_trip(tmp_path):
    keys = [name for name in NAMES if name.isprintable()]
    pairs = data.Pairs(keys, keys[::-1], [n % 2 == 0 for n in range(len(keys))], list(range(len(keys))))
    data.write_pairs(tmp_path / "pairs.csv", pairs)
    found = read_pairs_table(tmp_path / "pairs.csv")
    for name in ("left", "right", "same", "fold"):
        np.testing.assert_array_equal(getattr(found, name), getattr(pairs, name), strict=True)

    landmarks = {key: tuple(np.random.default_rng(n).normal(size=10).tolist()) for n, key in enumerate(keys)}
    data.write_landmarks(tmp_path / "landmarks.csv", landmarks)
    assert data.read_landmarks(tmp_path / "landmarks.csv") == landmarks

    overlap.write_exclusions(tmp_path / "overlap.csv", [overlap.Shared(key, key, "same") for key in keys])
    assert [row[:2] for row in read(tmp_path / "overlap.csv")[1:]] == [[key, key] for key in keys]
