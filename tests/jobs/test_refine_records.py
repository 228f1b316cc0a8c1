"""Refining a dataset end to end: proposals, a page whose decisions survive a reload, and the relabelled dataset."""

import collections
import html
import json
import re
import subprocess

import numpy as np
import pytest
from browser import CHROMIUM
from PIL import Image

from tfface import export
from tfface.data.conversion.convert import convert
from tfface.data.curation import cleaning
from tfface.data.sources.combined_sources import Transformed
from tfface.data.sources.folders import FolderSource
from tfface.data.sources.records_source import RecordsSource
from tfface.jobs import refinement

PEOPLE, IMAGES, DIM = 60, 8, 32
NASTY = 'o\'<b>&, "q"'


def name_of(person):
    """Names of people; one holds markup, quotes and a comma."""
    return NASTY if person == 3 else f"p{person:02d}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a dataset with planted noise, its embeddings, and their truth: dict from key to the right identity.

    Four images of each of the first four people have the label of the next; p10 is two labels, p11 and p12 are one.
    """
    folder = tmp_path_factory.mktemp("refine")
    rng = np.random.default_rng(0)
    truth, vectors, keys = {}, [], []
    centres = rng.normal(size=[PEOPLE, DIM]) / np.sqrt(DIM)
    for person in range(PEOPLE):
        for shot in range(IMAGES):
            label = name_of((person + 1) % 4 if person < 4 and shot < 3 else person)
            label = {"p10": f"p10{'ab'[shot % 2]}", "p12": "p11"}.get(label, label)
            key = f"{label}/{person:02d}_{shot}.png"
            path = folder / "images" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), (4 * person, 30 * shot, 100)).save(path)
            truth[key] = {10: "p10a", 12: "p12"}.get(person, name_of(person))
            keys.append(key)
            vectors.append(centres[person] + 0.5 * rng.normal(size=DIM) / np.sqrt(DIM))
    convert(FolderSource(folder / "images"), folder / "records")
    unit = np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    order = rng.permutation(len(keys))  # Files of embeddings have an order of their own.
    export.save_embeddings(folder / "e.npz", export.Embeddings(unit[order], [keys[row] for row in order]))
    refinement.refine_records(folder / "records", folder / "out", embeddings=[folder / "e.npz"], sheets=20)
    return folder, truth


def relabelled(folder, table):
    """Identities of the dataset by key, after `relabel` with a table."""
    source = Transformed(RecordsSource(folder / "records"), lambda items: cleaning.relabel(items, table))
    return {item.key: item.identity for item in source.items()}


def groups(identity_of):
    """Sets of keys that share an identity, whatever its name."""
    found = collections.defaultdict(set)
    for key, identity in identity_of.items():
        found[identity].add(key)
    return set(map(frozenset, found.values()))


def test_proposals_restore_the_dataset(place):
    folder, truth = place
    assert groups(relabelled(folder, folder / "out" / "proposals.csv")) == groups(truth)
    report = (folder / "out" / "report.md").read_text()
    assert "| images that belong to another identity: moved | 12 | 0 |" in report
    assert "| pairs of identities that are one: joined | 1 |" in report
    assert "| identities that are two people: divided | 1 | 0 |" in report


def test_decisions_come_before_proposals(place):
    folder, truth = place
    rows = "same,p10b,keep,\nsecond,p11,drop,\nmoved,p01/00_0.png,move,somebody\n"
    (folder / "decisions.csv").write_text(f"kind,name,decision,new_identity\n{rows}")
    assert refinement.apply_decisions(folder / "records", folder / "out", folder / "decisions.csv")[0] == 3
    found = relabelled(folder, folder / "out" / "decided.csv")
    # Which of two equal halves is the second person is not said.
    second = {key for key in truth if truth[key] in ("p11", "p12")} - set(found)
    assert {truth[key] for key in second} in ({"p11"}, {"p12"}) and len(second) == IMAGES
    expected = {key: name for key, name in truth.items() if key not in second} | {"p01/00_0.png": "somebody"}
    expected |= {key: "p10b" for key in expected if key.startswith("p10b")}
    assert groups(found) == groups(expected)


def test_models_judge_the_identities_that_they_did_not_see(place, monkeypatch):
    folder, _ = place
    paths = refinement.write_folds(folder / "records", folder / "folds", 2)
    records = RecordsSource(folder / "records")
    kept = [{item.identity for item in cleaning.exclude(records.items(), path)} for path in paths]
    everyone = {item.identity for item in records.items()}
    assert kept[0] | kept[1] == everyone and not kept[0] & kept[1] and abs(len(kept[0]) - len(kept[1])) <= 1
    # Each file is right only about the identities that its model did not see, and random about the others.
    found = export.load_embeddings(folder / "e.npz")
    labels = {item.key: item.identity for item in records.items()}
    files = [folder / "fold-0.npz", folder / "fold-1.npz"]
    for seen, path in zip(kept, files, strict=True):
        vectors = found.vectors.copy()
        here = np.array([labels[key] in seen for key in found.keys])
        vectors[here] += np.random.default_rng(1).normal(size=[here.sum(), DIM]).astype(np.float32) * 0.05
        export.save_embeddings(path, export.Embeddings(vectors, found.keys))
    refined = refinement.refine_records(folder / "records", folder / "crossed", embeddings=files, sheets=0)
    assert sum(case.kind == "moved" and case.error <= 0.05 for case in refined.cases) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda keys: [f"other/{key}" for key in keys], r"e2\.npz holds embeddings of other images: it lacks 480 of"),
        (lambda keys: ["gone", *keys[1:]], r"it lacks 1 of the 480 of .*records"),
    ],
)
def test_embeddings_of_other_images_are_refused(place, tmp_path, change, message):
    folder, _ = place
    found = export.load_embeddings(folder / "e.npz")
    export.save_embeddings(tmp_path / "e2.npz", export.Embeddings(found.vectors, change(found.keys)))
    with pytest.raises(ValueError, match=message):
        refinement.refine_records(folder / "records", tmp_path / "out", embeddings=[tmp_path / "e2.npz"])
    assert not (tmp_path / "out").exists()


def test_decisions_need_the_same_dataset(place, tmp_path):
    folder, _ = place
    (tmp_path / "decisions.csv").write_text("kind,name,decision,new_identity\n")
    with pytest.raises(ValueError, match=r"cases\.json is missing: refine the dataset into this folder first"):
        refinement.apply_decisions(folder / "records", tmp_path, tmp_path / "decisions.csv")
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (12, 12)).save(tmp_path / "images" / name / "0.png")
    convert(FolderSource(tmp_path / "images"), tmp_path / "other")
    with pytest.raises(ValueError, match=r"cases\.json is of another dataset: .* has nothing called"):
        refinement.apply_decisions(tmp_path / "other", folder / "out", tmp_path / "decisions.csv")
    with pytest.raises(ValueError, match="all identities have one image"):
        few = export.Embeddings(np.eye(2, 4, dtype=np.float32), ["a/0.png", "b/0.png"])
        export.save_embeddings(tmp_path / "few.npz", few)
        refinement.refine_records(tmp_path / "other", tmp_path / "out", embeddings=[tmp_path / "few.npz"])


def browse(page, script, width=1400):
    """Opens a page in Chromium with a further script, whose `finish(value)` ends the visit; returns the value."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install the package chromium to test pages in a browser")
    text = re.sub(r"script-src '[^']+'", "script-src 'unsafe-inline'", page.read_text(encoding="utf-8"))
    finish = 'const finish = value => document.body.replaceChildren("FOUND" + JSON.stringify(value) + "END");'
    copy = page.with_name("visited.html")
    copy.write_text(text.replace("</body>", f"<script>{finish}{script}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    command = [CHROMIUM, *options, f"--user-data-dir={page.parent / 'profile'}", f"--window-size={width},1000"]
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(html.unescape(re.search(r"<body>FOUND(.*)END", done.stdout, re.DOTALL)[1]))


def test_an_interrupted_review_continues(place):
    """Decisions are there again after a reload, and in the CSV, which gives them to an empty page."""
    folder, _ = place
    script = """
const one = document.querySelector('[data-kind="second"]'), other = document.querySelector('[data-kind="moved"]');
if (!sessionStorage.getItem("again")) {
  sessionStorage.setItem("again", "1");
  one.querySelector("input[value=drop]").click();
  const field = other.querySelector("input[type=text]");
  field.value = 'so, "he"';
  field.dispatchEvent(new Event("input", {bubbles: true}));
  field.dispatchEvent(new Event("change", {bubbles: true}));
  location.reload();
} else {
  const kept = csvText(), count = document.getElementById("count").textContent;
  for (const input of document.querySelectorAll("input[type=radio]")) input.checked = false;
  const empty = csvText();
  takeCsv("\\ufeff" + kept.replaceAll("\\n", "\\r\\n") + "moved,stranger,keep,\\r\\n");
  finish({kept, empty, read: csvText(), count, message: document.getElementById("message").textContent,
    images: [...document.images].every(image => image.naturalWidth > 0) && document.images.length,
    wider: document.documentElement.scrollWidth - innerWidth});
}
"""
    found = browse(folder / "out" / "index.html", script, width=400)
    assert found["kept"] == found["read"] and found["empty"] == "kind,name,decision,new_identity\n"
    assert found["count"].startswith("2 of ") and found["message"] == "2 decisions read, 1 of other cases left out."
    assert found["images"] > 50 and found["wider"] <= 0
    (folder / "saved.csv").write_text(found["kept"], encoding="utf-8")
    assert refinement.apply_decisions(folder / "records", folder / "out", folder / "saved.csv")[0] == 2
    changed = (folder / "out" / "decided.csv").read_text(encoding="utf-8")
    assert '"so, ""he"""' in changed


def test_the_page_runs_its_own_script_only(place):
    text = (place[0] / "out" / "index.html").read_text(encoding="utf-8")
    assert text.count("<script") == 1 and "default-src 'none'" in text and "script-src 'sha256-" in text
    assert "<b>&" not in text and not re.search(r"https?://|\son\w+=", text)
