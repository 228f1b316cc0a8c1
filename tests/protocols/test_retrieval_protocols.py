"""Omniglot's, Stanford Online Products' and In-Shop's forms, from folder to page, against loops."""

import json

import keras
import numpy as np
import protocol_faces as faces
import pytest
from PIL import Image

from tfface import data, jobs
from tfface.jobs.model_card import model_card

CLASSES, IMAGES = 14, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return faces.save_encoder(tmp_path_factory.mktemp("model") / "encoder.keras")


def vector(kind, image):
    return faces.unit(faces.raw(faces.draw(kind, image, noise=50)))


def recalls(queries, gallery, ks):
    """Recall@K of (name, class, vector) in such a gallery, without the query itself; a tie counts against it."""
    found = {k: [] for k in ks}
    for name, own, query in queries:
        ranked = [(faces.cosine(query, other), label == own) for key, label, other in gallery if key != name]
        if not any(same for _, same in ranked):
            continue
        best = max(score for score, same in ranked if same)
        rank = 1 + sum(score >= best for score, same in ranked if not same)
        for k in ks:
            found[k].append(rank <= k)
    return {f"recall@{k}": sum(hits) / len(hits) for k, hits in found.items()}


def everything():
    return [((c, i), c, vector(c, i)) for c in range(CLASSES) for i in range(IMAGES)]


def assert_recalls(tmp_path, result, expected, counts):
    (written,) = json.loads((tmp_path / "results.json").read_text())["protocols"]
    assert {name: written["rates"][name] for name in expected} == pytest.approx(expected)
    assert 0.2 < expected["recall@1"] < 0.95
    assert {name: written["counts"][name] for name in counts} == counts
    page = (tmp_path / "report.html").read_text()
    assert result.name in page and f"{100 * expected['recall@1']:.2f}" in page


@pytest.fixture(scope="module")
def sop(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Stanford_Online_Products"
    lines = ["image_id class_id super_class_id path"]
    for number, ((c, i), *_) in enumerate(everything(), start=1):
        name = f"bicycle_final/{2519 + c}_{i}.JPG"
        faces.write(root / name, faces.draw(c, i, noise=50))
        lines.append(f"{number} {c + 1} 1 {name}")
    (root / "Ebay_test.txt").write_text("\n".join(lines) + "\n")
    return root


def test_sop(model, sop, tmp_path):
    (result,) = jobs.evaluate_protocols(model, [f"SOP(root='{sop}', k=[1, 2, 10])"], tmp_path)
    images = everything()
    counts = {"queries": CLASSES * IMAGES, "queries without a match": 0}
    assert_recalls(tmp_path, result, recalls(images, images, (1, 2, 10)), counts)


def test_the_card_of_an_export_says_why_such_results_give_no_threshold(model, sop, tmp_path):
    jobs.evaluate_protocols(model, [f"SOP(root='{sop}')"], tmp_path)
    card = model_card(model, keras.models.load_model(model), results=tmp_path / "results.json")
    assert card["threshold"] is None and card["notes"] == ["No threshold: the results are not of pairs of images."]


def test_pictures_beside_those_of_the_list_do_not_matter(model, sop, tmp_path):
    (sop / "readme.webp").write_bytes(b"")
    jobs.evaluate_protocols(model, [f"SOP(root='{sop}')"], tmp_path)
    with pytest.raises(ValueError, match="readme.webp: a .webp picture"):
        jobs.evaluate_protocols(model, [f"Retrieval(records='{sop}')"], tmp_path)
    (sop / "readme.webp").unlink()


def test_sop_without_an_image(model, sop, tmp_path):
    path = sop / "bicycle_final" / "2520_3.JPG"
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(ValueError, match=r"SOP: 1 of 70 images missing, such as 'bicycle_final/2520_3.JPG'"):
            jobs.evaluate_protocols(model, [f"SOP(root='{sop}')"], tmp_path)
        (result,) = jobs.evaluate_protocols(model, [f"SOP(root='{sop}', k=[1])"], tmp_path, allow_missing=True)
    finally:
        path.write_bytes(content)
    images = [image for image in everything() if image[0] != (1, 3)]
    assert result.rates["recall@1"] == pytest.approx(recalls(images, images, (1,))["recall@1"])
    assert "1 of 70 images missing" in (tmp_path / "report.html").read_text()


def test_in_shop(model, tmp_path):
    lines, parts = [], {"train": [], "query": [], "gallery": []}
    for (c, i), label, found in everything():
        status = "train" if c >= 12 else "query" if i < 2 else "gallery"
        if c == 5 and status == "gallery":
            status = "train"  # The queries of this class have no match.
        name = f"img/WOMEN/Dresses/id_{c:08d}/{i:02d}_1_front.jpg"
        if status != "train":  # Training images need not be there.
            faces.write(tmp_path / name, faces.draw(c, i, noise=50))
        lines.append(f"{name}    id_{c:08d}    {status}")
        parts[status].append(((c, i), label, found))
    header = [str(len(lines)), "image_name item_id evaluation_status"]
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(header + lines) + "\n")
    text = f"InShop(root='{tmp_path}', partition='{tmp_path}/list_eval_partition.txt', k=[1, 3])"
    (result,) = jobs.evaluate_protocols(model, [text], tmp_path / "out")
    counts = {"queries": 22, "queries without a match": 2, "gallery images": 33}
    assert_recalls(tmp_path / "out", result, recalls(parts["query"], parts["gallery"], (1, 3)), counts)


def test_records_and_folders_search_themselves(model, tmp_path):
    for (c, i), *_ in everything():
        faces.write(tmp_path / "drawings" / f"character{c:02d}" / f"{i}.png", faces.draw(c, i, noise=50))
    data.convert_folder(tmp_path / "drawings", tmp_path / "records")
    images = everything()
    expected = recalls(images, images, (1, 10))
    for place in ("drawings", "records"):
        (result,) = jobs.evaluate_protocols(model, [f"Retrieval(records='{tmp_path / place}', k=[1, 10])"], tmp_path)
        assert result.name == place
        assert_recalls(tmp_path, result, expected, {"queries": CLASSES * IMAGES})


def test_photographs_of_any_size_are_resized(model, tmp_path):
    for c in range(3):
        for i in range(2):
            path = tmp_path / f"c{c}" / f"{i}.png"
            faces.write(path, faces.draw(c, i))
            Image.open(path).resize((150 + 10 * c, 90 + i)).save(path)
    (result,) = jobs.evaluate_protocols(model, [f"Retrieval(records='{tmp_path}', k=[1], name='C')"], tmp_path / "out")
    assert result.counts["queries"] == 6


def test_bad_images_of_a_folder_without_a_list_are_counted(model, tmp_path):
    for (c, i), *_ in everything():
        faces.write(tmp_path / "set" / f"c{c:02d}" / f"{i}.png", faces.draw(c, i, noise=50))
    (tmp_path / "set/c03/0.png").write_bytes(b"no picture")
    (tmp_path / "set/c04/9.webp").write_bytes(b"")
    call = f"Retrieval(records='{tmp_path}/set', k=[1])"
    with pytest.raises(ValueError, match="c04/9.webp: a .webp picture; only JPEG and PNG are read .skip_bad leaves"):
        jobs.evaluate_protocols(model, [call], tmp_path / "out")
    with pytest.raises(ValueError, match=r"set: 2 of 71 images missing, such as 'c04/9.webp' and 'c03/0.png'"):
        jobs.evaluate_protocols(model, [call], tmp_path / "out", skip_bad=True)
    (result,) = jobs.evaluate_protocols(model, [call], tmp_path / "out", skip_bad=True, allow_missing=True)
    images = [image for image in everything() if image[0] != (3, 0)]
    assert result.rates["recall@1"] == pytest.approx(recalls(images, images, (1,))["recall@1"])
    assert [str(each) for each in result.completeness] == [
        "2 of 71 images missing, such as 'c04/9.webp' and 'c03/0.png'"
    ]
    assert "2 of 71 images missing" in (tmp_path / "out/report.html").read_text()
    assert "2 of 71 images missing" in (tmp_path / "out/results.json").read_text()


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: expected 'image_id class_id super_class_id path'"),
        ("image_id class_id super_class_id path\n1 1 1 ../a.jpg\n", "line 2: expected"),
        ("image_id class_id super_class_id path\n1 1 1 a.jpg\n2 1 1 a.jpg\n", "'a.jpg' is listed twice"),
    ],
)
def test_malformed_lists_of_sop(tmp_path, text, message):
    (tmp_path / "Ebay_test.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        jobs.evaluate_protocols("nothing", [f"SOP(root='{tmp_path}')"], tmp_path / "out")


@pytest.mark.parametrize(
    "text, message",
    [
        ("2\nimage_name item_id evaluation_status\na.jpg 1 query\n", "announces 2 images, got 1"),
        ("1\nimage_name item_id evaluation_status\na.jpg 1 val\n", "line 3: expected"),
        ("2\nimage_name item_id evaluation_status\na.jpg 1 query\na.jpg 1 gallery\n", "'a.jpg' is listed twice"),
        ("1\nimage_name item_id evaluation_status\na.jpg 1 query\n", "lists no queries or no gallery"),
    ],
)
def test_malformed_lists_of_in_shop(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        jobs.evaluate_protocols("nothing", [f"InShop(root='a', partition='{tmp_path}/list.txt')"], tmp_path / "out")


def test_one_identity_only_gets_a_sentence(model, tmp_path):
    for i in range(3):
        faces.write(tmp_path / f"person{i}" / "0.png", faces.draw(i, 0))
    with pytest.raises(ValueError, match="none of the 3 queries has a relevant item"):
        jobs.evaluate_protocols(model, [f"Retrieval(records='{tmp_path}')"], tmp_path / "out")
    flat = np.zeros((112, 112, 3), np.uint8)
    faces.write(tmp_path / "flat" / "0.png", flat)
    with pytest.raises(ValueError, match="identities of the images are unknown"):
        jobs.evaluate_protocols(model, [f"Retrieval(records='{tmp_path}/flat')"], tmp_path / "out")
