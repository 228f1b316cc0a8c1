"""MegaFace and Trillion-Pairs in their distributed forms, from folders to page, against loops."""

import json
import math

import numpy as np
import protocol_faces as faces
import pytest

from tfface import jobs
from tfface.evaluation import identify_at_fpr
from tfface.evaluation.reports import comparison

PROBES, IMAGES, DISTRACTORS = 8, 4, 60
NOISY_PROBES = [(2, 1), (5, 0), (5, 1)]
NOISY_DISTRACTORS = [7, 33]


def probe(person, image):
    # A noisy probe shows somebody else.
    return faces.draw(900 + 10 * person + image if (person, image) in NOISY_PROBES else person, image, noise=22)


def distractor(number):
    # Noise among the distractors shows one of the probes' people.
    return faces.draw(1 if number in NOISY_DISTRACTORS else 100 + number, number, noise=22)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return faces.save_encoder(tmp_path_factory.mktemp("model") / "encoder.keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("megaface")
    probes = [(p, i) for p in range(PROBES) for i in range(IMAGES)]
    names = {(p, i): f"Actor_{p}/Actor_{p}_{i}.png" for p, i in probes}
    for key, name in names.items():
        faces.write(root / "facescrub_images" / name, probe(*key))
    keys = [f"{n % 7}/{n}@N00/{n}_0.jpg" for n in range(DISTRACTORS)]
    for number, key in enumerate(keys):
        faces.write(root / "megaface_images" / key, distractor(number))
    lists, devkit = root / "lists", root / "devkit"
    lists.mkdir()
    devkit.mkdir()
    (lists / "facescrub_lst").write_text("".join(f"facescrub_images/{name}\n" for name in names.values()))
    (lists / "megaface_lst").write_text("".join(f"{key}\n" for key in keys))
    noisy = "".join(f"{names[key].split('/')[1]}\n" for key in NOISY_PROBES)
    (lists / "facescrub_noises.txt").write_text(f"# noise\n{noisy}")
    (lists / "megaface_noises.txt").write_text("".join(f"{n}\t{keys[n]}\n" for n in NOISY_DISTRACTORS))
    identities = {"id": [name.split("/")[0] for name in names.values()], "path": list(names.values())}
    (devkit / "facescrub_features_list.json").write_text(json.dumps(identities))
    (devkit / "megaface_features_list.json_60_1").write_text(json.dumps({"path": keys}))
    return root


def call(folder, more="", lists="lists"):
    places = f"facescrub='{folder}/facescrub_images', distractors='{folder}/megaface_images'"
    return f"MegaFace({places}, lists='{folder}/{lists}'{more})"


def challenge(probes, distractors):
    """(rank-1, rank-10, TAR@1e-6 or None, searches): {(person, image): vector} among vectors."""
    ranks, genuine = [], []
    for one, vector in probes.items():
        others = [faces.cosine(vector, other) for other in distractors]
        for mate, other in probes.items():
            if mate != one and mate[0] == one[0]:
                score = faces.cosine(vector, other)
                ranks.append(1 + sum(each >= score for each in others))
                if one < mate:
                    genuine.append(score)
    impostor = [faces.cosine(vector, other) for vector in probes.values() for other in distractors]
    hit = [sum(rank <= limit for rank in ranks) / len(ranks) for limit in (1, 10)]
    return (*hit, faces.rate_at(genuine, impostor, 1e-6), len(ranks))


def vectors(mode):
    probes = {(p, i): faces.unit(faces.raw(probe(p, i))) for p in range(PROBES) for i in range(IMAGES)}
    strangers = [faces.unit(faces.raw(distractor(number))) for number in range(DISTRACTORS)]
    if mode == "original":
        return probes, strangers
    strangers = [vector for number, vector in enumerate(strangers) if number not in NOISY_DISTRACTORS]
    clean = {key: vector for key, vector in probes.items() if key not in NOISY_PROBES}
    if mode == "drop":
        return clean, strangers
    for person, image in NOISY_PROBES:
        own = [vector for (p, _), vector in clean.items() if p == person]
        probes[person, image] = sum(own) / len(own)
    return probes, strangers


@pytest.mark.parametrize(
    "mode, more, lists",
    [
        ("original", "", "lists"),
        ("original", ", scale=60", "devkit"),
        ("drop", ", refined=True", "lists"),
        ("hit", ", refined=True, noisy_probes='hit'", "lists"),
    ],
)
def test_megaface(model, folder, tmp_path, mode, more, lists):
    jobs.evaluate_protocols(model, [call(folder, more, lists)], tmp_path)
    rank1, rank10, tar, searches = challenge(*vectors(mode))
    (written,) = json.loads((tmp_path / "results.json").read_text())["protocols"]
    name = "MegaFace" if mode == "original" else "MegaFace refined"
    assert written["name"] == name
    assert written["rates"]["rank-1"] == pytest.approx(rank1) and 0.2 < rank1 < 1
    assert written["rates"]["rank-10"] == pytest.approx(rank10)
    assert tar is None and written["rates"]["TAR@1e-6"] is None  # 2,000 impostors are too few.
    assert written["counts"]["searches"] == searches
    numbers = comparison.read_run(tmp_path).values
    assert numbers[f"{name} rank-1"] == f"{100 * rank1:.2f}" and numbers[f"{name} TAR@1e-6"] == "n/a"
    page = (tmp_path / "report.html").read_text()
    assert f"{100 * rank1:.2f}" in page
    if mode != "original":
        assert {"drop": "left out", "hit": "at the centre of their person"}[mode] in page
    low = written["curves"]["low FARs"]
    assert written["curves"]["searches"]["y"][0] == pytest.approx(rank1) and low["kind"] == "ROC"


def test_missing_images_of_megaface(model, folder, tmp_path):
    path = folder / "megaface_images" / "3/10@N00/10_0.jpg"
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(ValueError, match=r"MegaFace: 1 of 60 images missing, such as '3/10@N00/10_0.jpg'"):
            jobs.evaluate_protocols(model, [call(folder)], tmp_path)
        (result,) = jobs.evaluate_protocols(model, [call(folder)], tmp_path, allow_missing=True)
    finally:
        path.write_bytes(content)
    probes, strangers = vectors("original")
    assert result.rates["rank-1"] == pytest.approx(challenge(probes, strangers[:10] + strangers[11:])[0])
    assert "1 of 60 distractors missing" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "more, lists, message",
    [
        (", noisy_probes='keep'", "lists", "`noisy_probes` must be 'drop' or 'hit'"),
        ("", "devkit", "lacks megaface_lst or megaface_features_list.json_1000000_1"),
        (", refined=True, scale=60", "devkit", "lacks facescrub_noises.txt"),
        ("", "nowhere", "lacks facescrub_lst or facescrub_features_list.json"),
    ],
)
def test_wrong_lists_of_megaface(folder, tmp_path, more, lists, message):
    with pytest.raises(ValueError, match=message):
        jobs.evaluate_protocols("nothing", [call(folder, more, lists)], tmp_path / "out")


def test_trillion_pairs(model, folder, tmp_path):
    places = f"probes='{folder}/facescrub_images', distractors='{folder}/megaface_images'"
    jobs.evaluate_protocols(model, [f"TrillionPairs({places})"], tmp_path)
    probes, strangers = vectors("original")
    highest = {key: max(faces.cosine(vector, other) for other in strangers) for key, vector in probes.items()}
    mates = [(one, two) for one in probes for two in probes if one != two and one[0] == two[0]]
    found = []
    for one, two in mates:
        score = faces.cosine(probes[one], probes[two])
        found.append(score if score > highest[one] else -math.inf)
    (written,) = json.loads((tmp_path / "results.json").read_text())["protocols"]
    assert written["name"] == "Trillion-Pairs"
    assert written["rates"]["Id@1e-3"] is None and written["rates"]["Ver@1e-9"] is None  # 32 probes are too few.
    assert written["counts"]["impostor pairs"] == len(probes) * DISTRACTORS
    assert written["counts"]["genuine pairs"] == len(mates) / 2
    people = [str(person) for person, _ in probes]
    measured = identify_at_fpr(np.array(list(probes.values())), people, np.array(strangers), (0.05, 0.1, 0.5))
    for fpr, point in measured.items():
        assert faces.is_rate(point.tpir, faces.rate_at(found, list(highest.values()), fpr))


def test_ytf(model, tmp_path):
    folds, people = 10, 10
    lines = ["split number, pair number, first name, second name, is same?"]
    videos, scored = {}, []
    for person in range(people):
        for video in range(2):
            frames = [faces.draw(person, 10 * video + frame, noise=130) for frame in range(1 + (person + video) % 3)]
            name = f"Name_{person}/{video}"
            for number, pixels in enumerate(frames):
                faces.write(tmp_path / "frames" / name / f"{video}.{number + 1}.jpg", pixels)
            videos[person, video] = sum(faces.unit(faces.raw(pixels)) for pixels in frames) / len(frames)
    for fold in range(folds):
        pairs = [((fold, 0), (fold, 1)), ((fold, 0), ((fold + 1) % people, 1)), ((fold, 1), ((fold + 3) % people, 0))]
        for number, (one, two) in enumerate(pairs):
            same = one[0] == two[0]
            lines.append(
                f"{fold + 1}, {number + 1}, Name_{one[0]}/{one[1]}, Name_{two[0]}/{two[1]}, {int(same)}, {int(same)}"
            )
            scored.append((faces.cosine(videos[one], videos[two]), same, fold))
    (tmp_path / "splits.txt").write_text("\n".join(lines) + "\n")
    faces.write(tmp_path / "frames/Nobody/0/0.1.jpg", faces.draw(0, 0))  # In no pair, so not embedded.
    text = f"YTF(frames='{tmp_path}/frames', splits='{tmp_path}/splits.txt')"
    (result,) = jobs.evaluate_protocols(model, [text], tmp_path / "out")
    mean, std = faces.fold_accuracy(scored)
    assert (result.name, result.accuracy.mean) == ("YTF", pytest.approx(mean)) and 0.5 < mean < 1
    assert comparison.read_run(tmp_path / "out").values["YTF accuracy"] == f"{100 * mean:.2f} (30 pairs)"
    assert f"{100 * mean:.2f} ± {100 * std:.2f}" in (tmp_path / "out/report.html").read_text()
    pooled = text.replace(")", ", pooling=Pooling(length='raw', mean='images'))")
    (other,) = jobs.evaluate_protocols(model, [pooled], tmp_path / "other")
    assert other.genuine_scores.tolist() != result.genuine_scores.tolist()
    for path in (tmp_path / "frames/Name_3/1").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"YTF: 1 of \d+ images missing, such as 'Name_3/1'"):
        jobs.evaluate_protocols(model, [text], tmp_path / "out")
    (rest,) = jobs.evaluate_protocols(model, [text], tmp_path / "out", allow_missing=True)
    kept = [pair for line, pair in zip(lines[1:], scored, strict=True) if "Name_3/1" not in line]
    assert rest.completeness.missing == len(scored) - len(kept)
