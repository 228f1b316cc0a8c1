"""The HTML page of a report, in a browser if one is installed, and as text."""

import dataclasses
import io
import re

import numpy as np
import pytest
from browser import look
from PIL import Image

from tfface.data.protocols.pair_lists import sample_pairs
from tfface.evaluation import (
    AngleStatistics,
    angle_statistics,
    group_results,
    hardest_pairs,
    html_report,
    identify_others,
    verify,
)
from tfface.evaluation.reports import html_page

EVIL = "<script>alert(1)</script>\"' onerror='x' $\\frac$ & <b>"


def report(path, **changes):
    """Writes a page about 20 people, whose names are meant to break out of it; returns its ingredients."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 6)
    embeddings = rng.normal(size=(20, 16))[labels] + rng.normal(size=(120, 16))
    keys = [f"{label}/{number}{EVIL}.jpg" for number, label in enumerate(labels)]
    protocols = {name: sample_pairs(keys, labels, 400, seed, folds=4) for seed, name in enumerate(("first", EVIL))}
    results = [verify(embeddings, keys, pairs, name, (0.1, 0.01, 1e-4)) for name, pairs in protocols.items()]
    identification, gallery_size = identify_others(embeddings, keys, labels)
    values = {key: ("young", EVIL)[number % 6 < 2] for number, key in enumerate(keys)}
    parts = {
        "context": {"command": f"python {EVIL}", "protocol": {EVIL: "ab12"}, "flip": False, "groups": {}},
        "identification": identification,
        "gallery_size": gallery_size,
        "angles": angle_statistics(embeddings, labels),
        "groups": {one.name: [group_results(one, protocols[one.name], EVIL, values)] for one in results},
        "hardest": {one.name: hardest_pairs(one, protocols[one.name], 3) for one in results},
        "pictures": {key: picture(number) for number, key in enumerate(keys)},
        **changes,
    }
    html_report(path, f"Report {EVIL}", results, **parts)
    return results, parts


def picture(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A page with every part: its path, results and ingredients."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    return path, *report(path)


@pytest.mark.parametrize("width", [1280, 400])
def test_page_in_a_browser(full, width):
    path, results, parts = full
    page, console = look(path, width)
    assert console == []
    assert page["fetched"] == [] and page["blocked"] == []
    assert page["title"] == f"Report {EVIL}"
    # The only script is that of the test: no part of a name became an element.
    assert page["scripts"] == 1
    assert page["wider"] <= 0

    faces = [key for kinds in parts["hardest"].values() for kind in kinds for pair in kind for key in pair[:2]]
    assert [alt for alt, _ in page["images"]][4:] == faces
    assert len(faces) == 24
    assert all(size > 0 for _, size in page["images"]), page["images"]
    assert all(alt for alt, _ in page["images"])
    assert page["headings"] == [
        f"Report {EVIL}",
        "Summary",
        "Curves",
        "Identification",
        "Angles",
        *[f"Groups: {result.name}" for result in results],
        *[
            heading
            for result in results
            for heading in (
                f"Hardest pairs: {result.name}",
                "Genuine pairs that look least alike",
                "Impostor pairs that look most alike",
            )
        ],
        "How these numbers were made",
    ]
    assert page["align"] == ["right"]
    summary = page["tables"][0]
    assert summary[0][:6] == ["protocol", "genuine", "impostor", "accuracy %", "AUC", "EER %"]
    assert [row[0] for row in summary[1:]] == ["first", EVIL]
    for result, row in zip(results, summary[1:], strict=True):
        accuracy = f"{100 * result.accuracy.mean:.2f} ± {100 * result.accuracy.std:.2f}"
        tars = [f"{100 * result.tar_at_far[far].tar:.2f}" for far in (0.1, 0.01)]
        assert row[1:] == ["200", "200", accuracy, f"{result.auc:.4f}", f"{100 * result.eer:.2f}", *tars, "n/a"]
    ranks = parts["identification"].rank_rates
    assert page["tables"][2][1][1].startswith(f"{100 * ranks[1]:.2f} (")
    assert page["worst"] == [tables[0].worst.name for tables in parts["groups"].values()]
    assert f"python {EVIL}" in page["text"] and "ab12" in page["text"]


def test_browser_test_sees_what_it_should(tmp_path):
    body = '<img src="http://127.0.0.1:9/x.png" alt=""><img src="data:image/png;base64,AAAA" alt="broken">'
    html_page.write_page(tmp_path / "page.html", "bad", [body])
    page, console = look(tmp_path / "page.html")
    assert page["blocked"] == ["http://127.0.0.1:9/x.png"]
    assert len(console) >= 1
    assert [size for _, size in page["images"]] == [0, 0]
    unprotected = re.sub(r"<meta http-equiv[^>]*>", "", (tmp_path / "page.html").read_text())
    (tmp_path / "open.html").write_text(unprotected)
    assert look(tmp_path / "open.html")[0]["fetched"] == ["http://127.0.0.1:9/x.png"]


def test_page_refers_to_nothing_outside(full):
    text = full[0].read_text(encoding="utf-8")
    # Without the encoded pictures, no attribute loads or links anything.
    bare = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "DATA", text)
    assert re.findall(r"(?:src|href|url)\s*[=(]\s*['\"]?([^'\" >)]*)", bare) == ["DATA"] * 28
    assert "default-src 'none'" in bare
    assert "<script" not in bare and "http:" not in bare and "https:" not in bare
    assert EVIL not in bare


def test_same_input_gives_the_same_bytes(full, tmp_path):
    report(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == full[0].read_bytes()


def test_what_is_missing_is_said(full, tmp_path):
    _, _, parts = full
    table = parts["groups"]["first"][0]
    empty = dataclasses.replace(table.groups[0], name="empty", genuine=0, refused=float("nan"))
    groups = {"first": [dataclasses.replace(table, groups=[empty, *table.groups])]}
    report(tmp_path / "page.html", pictures=None, groups=groups)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r">empty</th><td>0</td><td>\d+</td><td>n/a</td><td>n/a</td><td>\d", text)
    # Pairs without pictures are listed by name.
    pair = parts["hardest"]["first"][0][0]
    assert f"{html_page.escape(pair.left)} – {html_page.escape(pair.right)}</th><td>{pair.score:.3f}</td>" in text
    assert "image/jpeg" not in text


def test_optional_parts_are_left_out(tmp_path):
    changes = dict.fromkeys(("identification", "gallery_size", "groups", "hardest", "pictures"))
    # File names may not be valid UTF-8.
    changes.update(angles=AngleStatistics(14.29, 71.61, 38.45, 65.83), context={"model": "caf\udce9"})
    report(tmp_path / "page.html", **changes)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Summary", "Curves", "Angles", "How these numbers were made"]
    for shown in ("W-EC", "14.29", "71.61", "38.45", "65.83", "caf?"):
        assert shown in text
