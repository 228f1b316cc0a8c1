"""Runs beside papers, and the papers' numbers against those that the project states elsewhere."""

import csv
import dataclasses
import pathlib
import re

import numpy as np
import pytest

from tfface.data.protocols.pair_lists import Pairs
from tfface.evaluation import to_json, verify
from tfface.evaluation.reports.comparison import Numbers, compare, read_papers, read_run

PAPERS = pathlib.Path(__file__).resolve().parents[3] / "tfface" / "cli" / "paper_results.csv"


@pytest.fixture
def run(tmp_path):
    """Folder with the results of two protocols of 60 pairs, named like files of pairs."""
    rng = np.random.default_rng(0)
    keys = [str(number) for number in range(120)]
    same = np.arange(60) % 2 == 0
    pairs = Pairs(keys[:60], keys[60:], same, np.arange(60) // 30)
    first = rng.normal(size=(60, 8))
    second = np.where(same[:, None], first, 0) + rng.normal(size=(60, 8))
    results = [verify(np.concatenate([first, second]), keys, pairs, name, (0.1, 1e-4)) for name in ("FP", "lfw_pairs")]
    to_json(results, tmp_path / "run" / "results.json")
    return tmp_path / "run", results


def test_runs_and_papers_share_columns(run):
    folder, (fp, lfw) = run
    papers = [Numbers("A", {"LFW accuracy": "99.10"}), Numbers("B", {"YTF accuracy": "95.0"})]
    header, ours, theirs = compare([read_run(folder)], papers)
    assert header == ["", "CFP-FP accuracy", "CFP-FP TAR@1e-1", "LFW accuracy", "LFW TAR@1e-1"]
    assert ours[:2] == [str(folder), f"{100 * fp.accuracy.mean:.2f} (60 pairs)"]
    assert ours[4] == f"{100 * lfw.tar_at_far[0.1].tar:.2f}"
    assert theirs == ["A", "-", "-", "99.10", "-"]
    assert read_run(folder / "results.json").values == read_run(folder).values
    # Nobody can measure a FAR of 1e-4 with 30 impostor pairs.
    assert read_run(folder).values["LFW TAR@1e-4"] == "n/a"


@pytest.mark.parametrize(
    "name, lists, dataset",
    [
        ("pairs", {"lfw/pairs.txt": "0"}, "LFW"),
        ("pairs", {"records/cfp_fp/pairs.csv": "0"}, "pairs"),
        ("cfp_fp", {"records/cfp_fp/pairs.csv": "0"}, "CFP-FP"),
        ("splits", {"ytf/splits.txt": "0"}, "YTF"),
    ],
)
def test_datasets_of_protocols(run, tmp_path, name, lists, dataset):
    _, (result, _) = run
    to_json([dataclasses.replace(result, name=name)], tmp_path / "results.json", {"protocol": lists})
    assert f"{dataset} accuracy" in read_run(tmp_path).values


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"results": 3}', '{"results": [{"name": "x"}]}', '{"results": [{"name": []}]}']
)
def test_other_json_is_named(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="results.json: .*(not JSON|expected)"):
        read_run(tmp_path)


def test_runs_are_needed_and_papers_have_their_columns(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        compare([])
    columns = b"paper,table,training,method,measure,value\n"
    for content, message in (
        (b"", "expected the columns"),
        (b"paper,value\n", "expected the columns"),
        (columns + b"ArcFace,2,CASIA\n", "expected 6 cells in every row, got .*CASIA"),
        (columns + b'"ArcFace', "not a CSV file"),
        (b"\xff", "not a CSV file"),
    ):
        (tmp_path / "papers.csv").write_bytes(content)
        with pytest.raises(ValueError, match=f"papers.csv.*{message}"):
            read_papers(tmp_path / "papers.csv")


def test_numbers_of_papers():
    papers = {paper.name: paper.values for paper in read_papers(PAPERS)}
    arcface = papers["ArcFace (0.5) [ArcFace, Table 2: CASIA, ResNet50]"]
    assert arcface == {"LFW accuracy": "99.53", "CFP-FP accuracy": "95.56", "AgeDB-30 accuracy": "95.15"}
    assert papers["SphereFace2 [SphereFace2, Table 6: VGGFace2, 20 layers]"]["Combined accuracy"] == "94.28"
    assert papers["D-Softmax (d 0.9) [D-Softmax, Table 1: MS-Celeb-1M, ResNet-50]"]["IJB-C TAR@1e-4"] == "88.17"
    assert papers["BroadFace [BroadFace, Table 4: MS-Celeb-1M, ResNet-100]"]["IJB-B TAR@1e-6"] == "46.53"
    angles = papers["ArcFace [ArcFace, Table 3: CASIA, ResNet50]"]
    assert angles["W-EC (degrees)"] == "14.29" and angles["LFW Inter (degrees)"] == "66.55"
    assert papers["ArcFace [ArcFace, Table 8: MS1MV2+Asian, ResNet100]"]["Trillion-Pairs Id@1e-3"] == "84.840"
    assert papers["BroadFace (128 dimensions) [BroadFace, Table 5: SOP, ResNet-50]"]["SOP recall@1000"] == "98.4"


@pytest.fixture(scope="module")
def lines():
    """Dict from (paper, table) to dict from method to dict from measure to number."""
    with PAPERS.open() as file:
        rows = list(csv.DictReader(file))
    places = [(row["paper"], row["table"], row["training"], row["method"], row["measure"]) for row in rows]
    assert len(set(places)) == len(places)
    found = {}
    for row in rows:
        table = found.setdefault((row["paper"], row["table"]), {})
        table.setdefault((row["training"], row["method"]), {})[row["measure"]] = float(row["value"])
    return found


def test_every_number_has_a_unit_and_a_place(lines):
    rates = re.compile(r".+ (accuracy|rank-1|(TAR|TPIR|Id|Ver|MAP)@(1e-\d|100)|recall@1(0*)|recall@[23]0)")
    for table in lines.values():
        for values in table.values():
            for measure, value in values.items():
                if rates.fullmatch(measure):
                    assert 0 < value <= 100
                elif measure.endswith("(degrees)"):
                    assert 0 < value < 90
                else:
                    assert measure in ("loss time (s)", "total time (s)", "GFLOPs") and value > 0


def test_rates_grow_with_what_is_allowed(lines):
    """With FAR, FPIR and K, TAR, TPIR and recall cannot fall."""
    for table in lines.values():
        for method, values in table.items():
            curves = {}
            for measure, value in values.items():
                name, at, point = measure.partition("@")
                if at:
                    curves.setdefault(name, []).append((float(point), value))
            for curve in curves.values():
                found = [value for _, value in sorted(curve)]
                assert found == sorted(found), method


def test_what_papers_print_twice_agrees(lines):
    broadface, sphereface2 = (
        lambda table, method, paper=paper: next(
            values for (_, name), values in lines[paper, table].items() if name == method
        )
        for paper in ("BroadFace", "SphereFace2")
    )
    best = broadface("6a", "BroadFace (queue 32768, with compensation)")
    networks = lines["BroadFace", "6b"]
    assert best == networks["MS-Celeb-1M, ResNet-100, 512 dimensions", "BroadFace"]
    assert best.items() < broadface("4", "BroadFace").items()
    for word in ("with", "without"):
        without_queue = broadface("6a", f"BroadFace (queue 0, {word} compensation)")
        assert without_queue == networks["MS-Celeb-1M, ResNet-100, 512 dimensions", "ArcFace"]
    for table, t in (("4", 1), ("5", 2), ("5", 3)):
        varied = sphereface2("11", f"SphereFace2, effect of t (lambda 0.7, r 30, m 0.4, t {t})")
        assert varied == sphereface2(table, f"SphereFace2 (lambda 0.7, t {t})")
    assert varied == sphereface2("11", "SphereFace2, effect of m (lambda 0.7, r 30, m 0.4, t 3)")
    # The time of the network is that of all four losses.
    network = {
        round(values["total time (s)"] - values["loss time (s)"], 2) for values in lines["D-Softmax", "3"].values()
    }
    assert network == {0.84}


def test_files_of_release_0_1_are_read(tmp_path):
    (tmp_path / "own.csv").write_text("paper,table,training,method,measure,percent\nA,1,x,y,LFW accuracy,99.1\n")
    assert read_papers(tmp_path / "own.csv") == [Numbers("y [A, Table 1: x]", {"LFW accuracy": "99.1"})]
