"""IJB in InsightFace's form, from loose crops to the page, against loops of NumPy."""

import json
import math
import shutil

import keras
import numpy as np
import protocol_faces as faces
import pytest

from tfface import export, jobs
from tfface.evaluation.reports import comparison

# InsightFace's five points of a face of 112 pixels.
POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
PEOPLE, TEMPLATES = 18, 3  # The first template of people 0 to 5 is in gallery 1, of 6 to 11 in gallery 2.


def plan():
    """Rows (image, template, medium, person, score) of all faces."""
    rng = np.random.default_rng(1)
    rows = []
    for person in range(PEOPLE):
        for number in range(TEMPLATES):
            for _ in range(int(rng.integers(1, 5))):
                image = len(rows) + 1
                score = round(float(rng.uniform(0.5, 1)), 3)
                rows.append((image, 100 + person * TEMPLATES + number, int(rng.integers(1, 3)), person, score))
    return rows


def pixels(image, person):
    return faces.draw(person, image, noise=45)


def template_of(person, number):
    return 100 + person * TEMPLATES + number


def pairs():
    """Probe templates against gallery templates, and two templates of each person outside of the galleries."""
    listed = [
        (template_of(one, number), template_of(other, 0), one == other)
        for one in range(PEOPLE)
        for number in range(1, TEMPLATES)
        for other in range(12)
    ]
    return listed + [(template_of(one, 1), template_of(one, 2), True) for one in range(12, PEOPLE)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return faces.save_encoder(tmp_path_factory.mktemp("model") / "encoder.keras")


@pytest.fixture(scope="module", params=["C", "B"])
def benchmark(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(f"IJB{request.param}")
    start = f"ijb{request.param.lower()}"
    meta = root / "meta"
    meta.mkdir()
    lines, points = [], []
    for image, template, medium, person, score in plan():
        # A loose crop: the face lies somewhere in it, half of them at twice the size.
        scale, x, y = 1 + image % 2, 3 + image % 11, 5 + image % 7
        crop = np.random.default_rng(image).integers(0, 255, (112 * scale + 20, 112 * scale + 18, 3), np.uint8)
        face = pixels(image, person)
        crop[y : y + 112 * scale, x : x + 112 * scale] = np.kron(face, np.ones((scale, scale, 1), np.uint8))
        faces.write(root / "loose_crop" / f"{image}.jpg", crop)
        lines.append(f"{image}.jpg {template} {medium}\n")
        moved = (scale * POINTS + [x, y]).ravel()
        points.append(f"{image}.jpg {' '.join(f'{value:.4f}' for value in moved)} {score}\n")
    (meta / f"{start}_face_tid_mid.txt").write_text("".join(lines))
    (meta / f"{start}_name_5pts_score.txt").write_text("".join(points))
    (meta / f"{start}_template_pair_label.txt").write_text("".join(f"{a} {b} {int(same)}\n" for a, b, same in pairs()))
    letter = "G" if request.param == "C" else "S"
    lists = {f"gallery_{letter}1": [(p, 0) for p in range(6)], f"gallery_{letter}2": [(p, 0) for p in range(6, 12)]}
    lists["probe_mixed"] = [(p, number) for p in range(PEOPLE) for number in range(1, TEMPLATES)]
    for name, members in lists.items():
        text = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n"
        for person, number in members:
            template = template_of(person, number)
            text += "".join(f"{template},{person},x.jpg\n" for _, other, *_ in plan() if other == template)
        (meta / f"{start}_1N_{name}.csv").write_text(text)
    return root, request.param


def call(root, kind, more=""):
    return f"IJB(root='{root}/loose_crop', meta='{root}/meta', kind='{kind}'{more})"


def pooled(flip, length, detector, mean, without=()):
    """Dict from template to its vector, by loops."""
    groups = {}
    for image, template, medium, person, score in plan():
        if image in without:
            continue
        face = pixels(image, person)
        vector, turned = faces.raw(face), faces.raw(face[:, ::-1])
        if flip == "sum":
            vector = vector + turned
        if flip == "concatenate":
            vector = np.concatenate([vector, turned])
        if length == "unit":
            vector = faces.unit(vector)
        if detector:
            vector = vector * score
        groups.setdefault(template, {}).setdefault(medium if mean == "media" else 0, []).append(vector)
    return {
        template: sum(sum(vectors) / len(vectors) for vectors in media.values()) for template, media in groups.items()
    }


def rates_of_pairs(vectors):
    scored = [(faces.cosine(vectors[a], vectors[b]), same) for a, b, same in pairs() if a in vectors and b in vectors]
    genuine, impostor = ([score for score, same in scored if same == one] for one in (True, False))
    return {f"TAR@1e-{exponent}": faces.rate_at(genuine, impostor, 10.0**-exponent) for exponent in range(1, 7)}


def rates(vectors):
    """All rates of the protocol, by loops."""
    found = rates_of_pairs(vectors)
    for rank in (1, 5, 10):
        found[f"rank-{rank}"] = []
    for exponent in (1, 2):
        found[f"TPIR@1e-{exponent}"] = []
    for people in (range(6), range(6, 12)):
        hits, false, ranks = [], [], []
        for person in range(PEOPLE):
            for number in range(1, TEMPLATES):
                probe = vectors[template_of(person, number)]
                scores = {other: faces.cosine(probe, vectors[template_of(other, 0)]) for other in people}
                if person not in scores:
                    false.append(max(scores.values()))
                    continue
                rank = sum(score >= scores[person] for score in scores.values())
                ranks.append(rank)
                hits.append(scores[person] if rank == 1 else -math.inf)
        for rank in (1, 5, 10):
            found[f"rank-{rank}"].append(sum(each <= rank for each in ranks) / len(ranks))
        for exponent in (1, 2):
            found[f"TPIR@1e-{exponent}"].append(faces.rate_at(hits, false, 10.0**-exponent))
    return {
        name: (None if None in value else sum(value) / 2) if isinstance(value, list) else value
        for name, value in found.items()
    }


def assert_equal_rates(written, expected):
    assert written.keys() == expected.keys()
    wrong = {
        name: (written[name], expected[name]) for name in expected if not faces.is_rate(written[name], expected[name])
    }
    assert not wrong


@pytest.mark.parametrize(
    "pooling",
    [("none", "unit", False, "media"), ("sum", "raw", True, "media"), ("concatenate", "unit", True, "images")],
)
def test_every_rate_is_that_of_the_loops(model, benchmark, tmp_path, pooling):
    flip, length, detector, mean = pooling
    mode = f", pooling=Pooling(flip='{flip}', length='{length}', detector={detector}, mean='{mean}')"
    (result,) = jobs.evaluate_protocols(model, [call(*benchmark, mode)], tmp_path)
    expected = rates(pooled(*pooling))
    assert 0.2 < expected["TAR@1e-2"] < 1 and expected["TAR@1e-6"] is None and expected["TPIR@1e-2"] is None
    (written,) = json.loads((tmp_path / "results.json").read_text())["protocols"]
    assert_equal_rates(written["rates"], expected)
    assert result.name == written["name"] == f"IJB-{benchmark[1]}"
    assert written["settings"] == {"pooling": str(result.settings["pooling"]), "galleries": "averaged"}
    assert f"flip {flip}, {length} length" in written["settings"]["pooling"]
    assert written["counts"]["templates"] == PEOPLE * TEMPLATES
    page = (tmp_path / "report.html").read_text()
    percent = f"{100 * expected['TAR@1e-2']:.2f}"
    assert percent in page and f"flip {flip}, {length} length" in page and "n/a" in page
    numbers = comparison.read_run(tmp_path).values
    assert numbers[f"{result.name} TAR@1e-2"] == percent and numbers[f"{result.name} TAR@1e-6"] == "n/a"
    assert {curve["kind"] for curve in written["curves"].values()} == {"ROC", "CMC", "DET"}
    assert written["curves"]["1:N"]["y"][0] == pytest.approx(expected["rank-1"])


def test_one_gallery_of_all_people(model, benchmark, tmp_path):
    (result,) = jobs.evaluate_protocols(model, [call(*benchmark, ", galleries='joint'")], tmp_path)
    vectors = pooled("none", "unit", False, "media")
    ranks = []
    for person in range(12):
        for number in range(1, TEMPLATES):
            scores = [
                faces.cosine(vectors[template_of(person, number)], vectors[template_of(other, 0)])
                for other in range(12)
            ]
            ranks.append(sum(score >= scores[person] for score in scores))
    assert result.rates["rank-1"] == pytest.approx(sum(rank == 1 for rank in ranks) / len(ranks))
    assert result.settings["galleries"] == "joint"


def test_missing_crops(model, benchmark, tmp_path):
    root, kind = benchmark
    copy = shutil.copytree(root, tmp_path / "copy")
    single = next(t for t in range(100, 154) if sum(row[1] == t for row in plan()) == 1 and (t - 100) % TEMPLATES)
    gone = {next(row[0] for row in plan() if row[1] == single), 2}
    for image in gone:
        (copy / "loose_crop" / f"{image}.jpg").unlink()
    with pytest.raises(ValueError, match=rf"IJB-{kind}: 2 of {len(plan())} images missing, such as '2.jpg'"):
        jobs.evaluate_protocols(model, [call(copy, kind)], tmp_path / "out")
    (result,) = jobs.evaluate_protocols(
        model, [call(copy, kind, ", search=False")], tmp_path / "out", allow_missing=True
    )
    vectors = pooled("none", "unit", False, "media", gone)
    assert single not in vectors
    scored = [pair for pair in pairs() if single not in pair[:2]]
    images, listed = result.completeness
    assert (images.missing, listed.missing) == (2, len(pairs()) - len(scored))
    assert_equal_rates(result.rates, rates_of_pairs(vectors))
    page = (tmp_path / "out/report.html").read_text()
    assert f"2 of {len(plan())} images missing" in page and "not those of the whole protocol" in page


@pytest.mark.parametrize("same, message", [(1, "got 4 and 0"), (0, "got 0 and 4")])
def test_pairs_of_one_kind_get_a_sentence(model, benchmark, tmp_path, same, message):
    root, kind = benchmark
    meta = shutil.copytree(root / "meta", tmp_path / "meta")
    lines = [f"{template_of(p, 0)} {template_of(p + 1 - same, 1)} {same}\n" for p in range(4)]
    (meta / f"ijb{kind.lower()}_template_pair_label.txt").write_text("".join(lines))
    wrong = call(root, kind).replace(f"{root}/meta", str(meta))
    with pytest.raises(ValueError, match=f"IJB-{kind}: genuine and impostor pairs of templates are needed, {message}"):
        jobs.evaluate_protocols(model, [wrong], tmp_path / "out")


@pytest.mark.parametrize(
    "file, line, message",
    [
        (
            "template_pair_label.txt",
            "7 100 0",
            "names 1 templates that .* does not list, such as 7: are these",
        ),
        ("1N_probe_mixed.csv", "101,17,x.jpg", "template 101 has several subjects"),
        ("1N_probe_mixed.csv", "100,0,x.jpg", "share 1 templates, such as 100"),
        ("1N_probe_mixed.csv", "999,0,x.jpg", "names 1 templates .* such as 999"),
        ("face_tid_mid.txt", "900.jpg 100 1", "lacks 1 of the faces of .*, such as '900.jpg'"),
        ("face_tid_mid.txt", "../900.jpg 100 1", "stays below its folder"),
        ("name_5pts_score.txt", "900.jpg 1 2 3 4 5 6 7 8 9 inf 1", "expected finite numbers"),
        ("1N_probe_mixed.csv", None, "lacks ijb._1N_probe_mixed.csv; search=False does without 1:N"),
        ("face_tid_mid.txt", None, "lacks ijb._face_tid_mid.txt.$"),
    ],
)
def test_contradictions_of_the_lists_get_a_sentence(model, benchmark, tmp_path, file, line, message):
    root, kind = benchmark
    meta = shutil.copytree(root / "meta", tmp_path / "meta")
    path = meta / f"ijb{kind.lower()}_{file}"
    if line is None:
        path.unlink()
    else:
        path.write_text(path.read_text() + f"{line}\n")
    wrong = call(root, kind).replace(f"{root}/meta", str(meta))
    with pytest.raises(ValueError, match=message):
        jobs.evaluate_protocols(model, [wrong], tmp_path / "out")
    assert not (tmp_path / "out/results.json").exists()


@pytest.mark.parametrize(
    "more, message",
    [
        (", kind='D'", "`kind` must be one of B, C, got 'D'"),
        (", galleries='merged'", "`galleries` must be one of averaged, joint"),
        (", pooling=Pooling(mean='video')", "`mean` must be one of"),
        (", pooling=Mean()", "pooling must be one of Pooling; got 'Mean'"),
    ],
)
def test_unknown_arguments_get_a_sentence(model, benchmark, tmp_path, more, message):
    text = call(*benchmark, more)
    if "kind='D'" in more:
        text = text.replace(f", kind='{benchmark[1]}'", "", 1)
    with pytest.raises(ValueError, match=message):
        jobs.evaluate_protocols(model, [text], tmp_path / "out")


def test_lengths_that_an_export_does_not_have_are_refused_before_any_work(model, benchmark, tmp_path):
    export.saved_model(keras.models.load_model(model), tmp_path / "exported")
    mode = ", pooling=Pooling(flip='sum', length='raw')"
    with pytest.raises(ValueError, match="unit length: pooling with length='raw' needs a run folder or a .keras file"):
        jobs.evaluate_protocols(tmp_path / "exported", [call(*benchmark, mode)], tmp_path / "out")
    assert not (tmp_path / "out/embeddings.partial").exists()
    # Sums of unit vectors are what an export allows.
    mode = ", pooling=Pooling(flip='sum')"
    (result,) = jobs.evaluate_protocols(tmp_path / "exported", [call(*benchmark, mode)], tmp_path / "out")
    assert 0 < result.rates["TAR@1e-2"] < 1
