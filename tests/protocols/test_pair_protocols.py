"""Sets of pairs in the forms in which they are distributed, from folder to page, against loops of NumPy."""

import json
import pickle

import numpy as np
import programs
import protocol_faces as faces
import pytest

from tfface import evaluation, jobs, protocols
from tfface.evaluation.reports import comparison

PEOPLE, IMAGES, FOLDS = 24, 4, 10


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return faces.save_encoder(tmp_path_factory.mktemp("model") / "encoder.keras")


def drawn_pairs(per_class, seed):
    """Per fold, genuine then impostor pairs: (person, image, other person, image)."""
    rng = np.random.default_rng(seed)
    found = []
    for fold in range(FOLDS):
        for same in (True, False):
            for _ in range(per_class):
                one, other = rng.choice(PEOPLE, 2, replace=False)
                i, j = rng.choice(IMAGES, 2, replace=False)
                found.append((int(one), int(i), int(one if same else other), int(j), same, fold))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """LFW, CFP, AgeDB-30, CPLFW and a .bin file, all of the same drawn people."""
    root = tmp_path_factory.mktemp("sets")
    pictures = {(person, i): faces.draw(person, i) for person in range(PEOPLE) for i in range(IMAGES)}
    for (person, i), pixels in pictures.items():
        name = f"Person_{person}"
        faces.write(root / "lfw" / name / f"{name}_{i + 1:04d}.png", pixels)  # The list says .jpg.
        pose = ("frontal", "profile")[i // 2]
        faces.write(root / "cfp/Data/Images" / f"{person + 1:03d}" / pose / f"{i % 2 + 1:02d}.jpg", pixels)
        faces.write(root / "flat" / f"{person}_{i}.jpg", pixels)
    lfw = drawn_pairs(3, 0)
    lines = [f"{FOLDS}\t3"]
    for one, i, other, j, same, _ in lfw:
        lines.append(f"Person_{one}\t{i + 1}\t" + (f"{j + 1}" if same else f"Person_{other}\t{j + 1}"))
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    (root / "agedb_30_pair.txt").write_text(
        "".join(f"{one}_{i}.jpg {other}_{j}.jpg {int(same)}\n" for one, i, other, j, same, _ in drawn_pairs(2, 1))
    )
    (root / "pairs_CPLFW.txt").write_text(
        "".join(
            f"{one}_{i}.jpg {int(same)}\n{other}_{j}.jpg {int(same)}\n"
            for one, i, other, j, same, _ in drawn_pairs(4, 2)
        )
    )
    images = [
        faces.png(pictures[key]) for one, i, other, j, _, _ in drawn_pairs(2, 3) for key in ((one, i), (other, j))
    ]
    (root / "cfp_fp.bin").write_bytes(pickle.dumps((images, [same for *_, same, _ in drawn_pairs(2, 3)]), protocol=2))
    listed = {"F": "frontal", "P": "profile"}
    for letter, pose in listed.items():
        paths = [f"../Data/Images/{p + 1:03d}/{pose}/{i + 1:02d}.jpg" for p in range(PEOPLE) for i in range(2)]
        (root / "cfp/Protocol").mkdir(exist_ok=True)
        (root / f"cfp/Protocol/image_list_{letter}.txt").write_text(
            "".join(f"{number} {path}\n" for number, path in enumerate(paths, start=1))
        )
    for one, i, other, j, same, fold in cfp_pairs():
        path = root / f"cfp/Protocol/Split/FP/{fold + 1:02d}/{'same' if same else 'diff'}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{2 * one + i + 1},{2 * other + j - 2 + 1}\n")
    return root


def cfp_pairs():
    """Frontal images are 0 and 1 of a person, profile ones 2 and 3."""
    rng = np.random.default_rng(5)
    pairs = []
    for fold in range(FOLDS):
        for same in (True, False):
            for _ in range(3):
                one, other = (int(each) for each in rng.choice(PEOPLE, 2, replace=False))
                pairs.append((one, int(rng.integers(2)), one if same else other, 2 + int(rng.integers(2)), same, fold))
    return pairs


def tenths(pairs):
    """The folds of lists without folds: tenths of either class."""
    of = {}
    for same in (True, False):
        rows = [row for row, pair in enumerate(pairs) if pair[4] == same]
        of |= {row: place * FOLDS // len(rows) for place, row in enumerate(rows)}
    return [(*pair[:5], of[row]) for row, pair in enumerate(pairs)]


def scored(pairs, flip=False):
    """(score, same, fold) by the oracle's network."""

    def embed(person, image):
        pixels = faces.draw(person, image)
        vector = faces.unit(faces.raw(pixels))
        return vector + faces.unit(faces.raw(pixels[:, ::-1])) if flip else vector

    return [(faces.cosine(embed(one, i), embed(other, j)), same, fold) for one, i, other, j, same, fold in pairs]


def calls(folder):
    return {
        "LFW": (f"LFW(root='{folder}/lfw', pairs='{folder}/pairs.txt')", drawn_pairs(3, 0)),
        "CFP-FP": (f"CFP(root='{folder}/cfp', split='FP')", cfp_pairs()),
        "AgeDB-30": (f"AgeDB30(root='{folder}/flat', pairs='{folder}/agedb_30_pair.txt')", tenths(drawn_pairs(2, 1))),
        "CPLFW": (f"CPLFW(root='{folder}/flat', pairs='{folder}/pairs_CPLFW.txt')", tenths(drawn_pairs(4, 2))),
        "cfp_fp": (f"Bin(file='{folder}/cfp_fp.bin')", tenths(drawn_pairs(2, 3))),
    }


@pytest.mark.parametrize("flip", [False, True])
def test_every_number_of_every_set_is_that_of_the_loops(model, folder, tmp_path, flip):
    sets = calls(folder)
    combined = f"Combined(of=[{sets['LFW'][0]}, {sets['AgeDB-30'][0]}, {sets['CPLFW'][0]}])"
    results = jobs.evaluate_protocols(
        model, [*(call for call, _ in sets.values()), combined], tmp_path, flip=flip, hardest=1
    )
    assert [result.name for result in results] == [*sets, "Combined"]
    document = json.loads((tmp_path / "results.json").read_text())
    page = (tmp_path / "report.html").read_text()
    numbers = comparison.read_run(tmp_path).values
    every = []
    for written, (name, (_, pairs)) in zip(document["results"], sets.items(), strict=True):
        expected = scored(pairs, flip)
        mean, std = faces.fold_accuracy(expected)
        assert written["accuracy"]["mean"] == pytest.approx(mean, abs=1e-9)
        assert written["accuracy"]["std"] == pytest.approx(std, abs=1e-9)
        assert written["completeness"] == {"pairs": len(pairs), "missing": 0, "examples": []}
        genuine, impostor = ([score for score, same, _ in expected if same == one] for one in (True, False))
        for point in written["tar_at_far"]:
            assert faces.is_rate(point["tar"], faces.rate_at(genuine, impostor, point["far"]))
        assert f"{100 * mean:.2f} ± {100 * std:.2f}" in page
        assert numbers[f"{name} accuracy"] == f"{100 * mean:.2f} ({len(pairs)} pairs)"
        if name in ("LFW", "AgeDB-30", "CPLFW"):
            every += expected
    mean, std = faces.fold_accuracy(every)
    assert 0.55 < mean < 0.99  # The task is neither trivial nor hopeless, so that a wrong rate would show.
    (written,) = document["protocols"]
    assert written["rates"] == {
        "accuracy": pytest.approx(mean, abs=1e-9),
        "accuracy std": pytest.approx(std, abs=1e-9),
    }
    assert numbers["Combined accuracy"] == f"{100 * mean:.2f}" and f"{100 * mean:.2f}" in page
    assert page.count("data:image/jpeg") == 4 * len(sets)
    assert not (tmp_path / "embeddings.partial").exists()


def test_an_image_that_several_protocols_need_is_embedded_once(model, folder, tmp_path, monkeypatch):
    from tfface import export

    embedded = []
    original = export.Embedder.__call__
    monkeypatch.setattr(export.Embedder, "__call__", lambda self, x: embedded.append(len(x)) or original(self, x))
    sets = calls(folder)
    both = [sets["AgeDB-30"][0], sets["CPLFW"][0]]
    jobs.evaluate_protocols(model, [*both, f"Combined(of=[{', '.join(both)}])"], tmp_path, hardest=0)
    images = {(p, i) for pair in drawn_pairs(2, 1) + drawn_pairs(4, 2) for p, i in (pair[:2], pair[2:4])}
    assert sum(embedded) == len(images)


def test_one_command(model, folder, tmp_path):
    (tmp_path / "my.flags").write_text(
        "# Both\n" + "".join(f"--protocol={calls(folder)[name][0]}\n" for name in ("LFW", "CFP-FP"))
    )
    flags = [f"--suite={tmp_path}/my.flags", f"--data={folder}/flat", f"--protocol={folder}/agedb_30_pair.txt"]
    done = programs.run("tfface", "evaluate", f"--model={model}", f"--output={tmp_path}", *flags)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "results.json").read_text())
    assert [result["name"] for result in document["results"]] == ["LFW", "CFP-FP", "agedb_30_pair"]
    (mean, _), (other, _) = (
        faces.fold_accuracy(scored(pairs)) for pairs in (drawn_pairs(3, 0), tenths(drawn_pairs(2, 1)))
    )
    assert f"{100 * mean:.2f}" in done.stdout and f"{100 * other:.2f}" in done.stdout
    assert "report.html" in done.stdout


@pytest.fixture
def damaged(folder, tmp_path):
    """LFW without one crop, with an image of another size, and with a damaged one."""
    import shutil

    copy = tmp_path / "lfw"
    shutil.copytree(folder / "lfw", copy)
    return copy


def test_a_missing_crop_is_named_and_the_rest_measured_only_if_asked(model, folder, damaged, tmp_path):
    pairs = drawn_pairs(3, 0)
    one, i = pairs[0][:2]
    (damaged / f"Person_{one}" / f"Person_{one}_{i + 1:04d}.png").unlink()
    call = f"LFW(root='{damaged}', pairs='{folder}/pairs.txt')"
    with pytest.raises(ValueError, match=rf"LFW: 1 of \d+ images missing, such as 'Person_{one}/.*--allow_missing"):
        jobs.evaluate_protocols(model, [call], tmp_path / "out")
    name = f"Person_{one}/Person_{one}_{i + 1:04d}.jpg"
    assert (tmp_path / "out/missing.txt").read_text() == f"LFW\t{damaged}\t{name}\tmissing\n"
    assert not (tmp_path / "out/results.json").exists()
    (result,) = jobs.evaluate_protocols(model, [call], tmp_path / "out", allow_missing=True, hardest=0)
    left = [pair for pair in pairs if (one, i) not in (pair[:2], pair[2:4])]
    assert result.completeness.missing == len(pairs) - len(left) > 0
    assert result.accuracy.mean == pytest.approx(faces.fold_accuracy(scored(left))[0], abs=1e-9)
    sentence = f"{len(pairs) - len(left)} of {len(pairs)} pairs missing"
    assert sentence in (tmp_path / "out/report.html").read_text() and sentence in evaluation.to_table(result)


def test_another_size_and_damage_are_named_or_left_out(model, folder, damaged, tmp_path, capsys):
    pairs = drawn_pairs(3, 0)
    one, i, other, j = pairs[4][:4]
    small = damaged / f"Person_{one}" / f"Person_{one}_{i + 1:04d}.png"
    call = f"LFW(root='{damaged}', pairs='{folder}/pairs.txt')"
    faces.write(small, faces.draw(one, i)[:100])
    with pytest.raises(ValueError, match=rf"{small.name}: 112 x 100 pixels, but the others have 112 x 112"):
        jobs.evaluate_protocols(model, [call], tmp_path / "out")
    broken = damaged / f"Person_{other}" / f"Person_{other}_{j + 1:04d}.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"LFW: \d+ of \d+ images missing"):
        jobs.evaluate_protocols(model, [call], tmp_path / "out", skip_bad=True)
    reasons = (tmp_path / "out/missing.txt").read_text()
    used = {image for pair in pairs for image in (pair[:2], pair[2:4])}
    printed = capsys.readouterr().err
    assert f"{damaged}: read {len(used) - 2} images, left out 2: " in printed
    assert f"1 of a damaged image, such as Person_{other}/{broken.name}" in printed
    assert reasons.count("\n") == 2 and "112 x 100 pixels, but" in reasons and "a damaged image" in reasons
    (result,) = jobs.evaluate_protocols(model, [call], tmp_path / "out", skip_bad=True, allow_missing=True, hardest=0)
    gone = {(one, i), (other, j)}
    left = [pair for pair in pairs if not gone & {pair[:2], pair[2:4]}]
    assert result.completeness.missing == len(pairs) - len(left)
    assert result.accuracy.mean == pytest.approx(faces.fold_accuracy(scored(left))[0], abs=1e-9)


def test_a_size_that_aligned_faces_do_not_have_is_said(model, tmp_path, capsys):
    from PIL import Image

    lines = []
    for fold in range(FOLDS):
        for name in ("a", "b", "c"):
            Image.fromarray(faces.draw(fold, 0)).resize((250, 250)).save(tmp_path / f"{name}{fold}.png")
        lines += [f"a{fold}.png b{fold}.png 1", f"a{fold}.png c{fold}.png 0"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    call = f"AgeDB30(root='{tmp_path}', pairs='{tmp_path}/list.txt')"
    jobs.evaluate_protocols(model, [call], tmp_path / "out", hardest=0)
    assert "images of 250 x 250 pixels are resized to 112 x 112" in capsys.readouterr().err
    assert "30 images of 250 x 250 pixels" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    "call, message",
    [
        ("LFV(root='a', pairs='b')", "protocol must be one of .*; got 'LFV'.* Did you mean LFW?"),
        ("LFW(root='a')", "protocol LFW needs pairs"),
        ("CFP(root='FOLDER/cfp', split='PF')", "`split` must be 'FF' or 'FP'"),
        ("CFP(root='FOLDER/lfw')", "No such file"),
        ("LFW(root='FOLDER/flat', pairs='FOLDER/pairs.txt')", "has none of the .* images: .*'Person_.*"),
        ("LFW(root='FOLDER/lfw', pairs='FOLDER/agedb_30_pair.txt')", "agedb_30_pair.txt, line 1: expected"),
        ("Combined(of=[CFP(root='FOLDER/cfp')])", "at least two different protocols"),
        ("Combined(of=['x', 'y'])", "at least two different protocols"),
    ],
)
def test_bad_input_gets_a_sentence(model, folder, tmp_path, call, message):
    with pytest.raises((ValueError, OSError), match=message):
        jobs.evaluate_protocols(model, [call.replace("FOLDER", str(folder))], tmp_path / "out")


def test_two_protocols_of_one_name_are_refused(model, folder, tmp_path):
    call = calls(folder)["LFW"][0]
    with pytest.raises(ValueError, match="two protocols are named LFW"):
        jobs.evaluate_protocols(model, [call, call], tmp_path / "out")


def test_embeddings_of_a_file_serve_in_place_of_a_model(folder, tmp_path):
    from tfface import export

    keys = [f"{person}_{i}.jpg" for person in range(PEOPLE) for i in range(IMAGES)]
    vectors = [faces.unit(faces.read_raw(folder / "flat" / key)) for key in keys]
    stored = export.Embeddings(np.float32(vectors), keys)
    export.save_embeddings(tmp_path / "all.npz", stored)
    call, pairs = calls(folder)["AgeDB-30"]
    (result,) = jobs.evaluate_protocols(tmp_path / "all.npz", [call], tmp_path / "out")
    assert result.accuracy.mean == pytest.approx(faces.fold_accuracy(scored(pairs))[0], abs=1e-9)
    export.save_embeddings(tmp_path / "part.npz", export.Embeddings(np.float32(vectors[5:]), keys[5:]))
    with pytest.raises(ValueError, match=r"AgeDB-30: \d+ of 40 pairs missing"):
        jobs.evaluate_protocols(tmp_path / "part.npz", [call], tmp_path / "out")


def test_protocols_in_python(folder):
    lfw = protocols.LFW(root=folder / "lfw", pairs=folder / "pairs.txt")
    (images,) = lfw.images()
    keys = list(images.names)
    vectors = np.random.default_rng(0).normal(size=(len(keys), 4)).astype(np.float32)
    result = lfw.evaluate([protocols.Embedded(keys, vectors)])
    assert isinstance(result, evaluation.VerificationResult) and result.name == "LFW"
