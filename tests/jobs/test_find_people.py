"""`tfface identify` on people of colours, whom an encoder of mean colours tells apart exactly."""

import json
import pathlib

import keras
import numpy as np
import programs
import pytest
from PIL import Image

from tfface import export, jobs
from tfface.export import card

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLOURS = {"anna": (250, 20, 20), "bert": (20, 250, 20), "cleo": (20, 20, 250)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a network, a gallery of three people with two images each, and two images of others."""
    folder = tmp_path_factory.mktemp("identify")
    pixels = keras.Input((56, 56, 3))
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels)).save(folder / "mean.keras")
    for name, colour in COLOURS.items():
        (folder / "people" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (56, 56), tuple(max(value - 20 * number, 0) for value in colour)).save(
                folder / "people" / name / f"{number}.png"
            )
    Image.new("RGB", (56, 56), (10, 240, 30)).save(folder / "new.png")
    Image.new("RGB", (56, 56), (250, 250, 250)).save(folder / "stranger.png")
    return folder


def find(folder, *names, gallery="people", **options):
    images = [folder / name for name in names]
    return jobs.find_people(folder / "mean.keras", folder / gallery, images, count=2, **options)


def test_names_the_person_and_the_stranger(folder):
    new, first, second, stranger, *_, basis = str(find(folder, "new.png", "stranger.png", threshold=0.9)).splitlines()
    assert new == f"{folder}/new.png: bert"
    assert first.endswith("bert  (bert/0.png)") and "bert" not in second
    assert stranger.startswith(f"{folder}/stranger.png: nobody of the gallery, most like ")
    assert basis == "gallery: 3 people, 6 images; threshold 0.9000"
    # By hand: the cosine of the mean colours in [-1, 1].
    one, other = ([value / 127.5 - 1 for value in colour] for colour in ((10, 240, 30), COLOURS["bert"]))
    cosine = np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)
    assert float(first.split()[0]) == pytest.approx(cosine, abs=1e-4)


def test_without_a_threshold_nothing_is_decided(folder):
    first, *_, basis = str(find(folder, "new.png")).splitlines()
    assert first == f"{folder}/new.png: most like bert"
    assert "was not verified. Nothing was decided: give --threshold." in basis


def test_the_program_takes_a_file_of_embeddings_as_the_same_gallery(folder):
    jobs.embed_images(folder / "mean.keras", folder / "people", folder / "people.npz")
    flags = (f"--model={folder / 'mean.keras'}", f"--gallery={folder / 'people.npz'}", "--top=2", "--threshold=0.9")
    images = [f"--image={folder / name}" for name in ("stranger.png", "new.png")]
    done = programs.run("tfface", "identify", *flags, *images)
    assert (done.returncode, done.stdout) == (0, f"{find(folder, 'stranger.png', 'new.png', threshold=0.9)}\n")


def test_the_threshold_of_an_export_is_that_of_its_card(folder, tmp_path, monkeypatch):
    stated = {"value": 0.4, "far": 0.01, "protocol": "held-out pairs"}
    (tmp_path / "1").mkdir()
    card.write_card({"name": "x", "threshold": stated}, tmp_path / "1")
    monkeypatch.setattr(export, "is_export", lambda model: True)
    embedder = export.encoder_embedder(keras.models.load_model(folder / "mean.keras"))
    monkeypatch.setattr("tfface.jobs.identification.load_any_embedder", lambda model: embedder)
    found = jobs.find_people(tmp_path / "1", folder / "people", [folder / "new.png"])
    assert found.threshold._asdict() == stated
    # FAR 0.01 of 6 comparisons.
    assert str(found).endswith("of held-out pairs: a stranger reaches it with 0.06 images of the gallery on average")
    with pytest.raises(ValueError, match="threshold of FAR 0.01, not of 0.001: export again with --far=0.001"):
        jobs.find_people(tmp_path / "1", folder / "people", [folder / "new.png"], far=0.001)


@pytest.mark.parametrize(
    "stated", [{"value": "0.4", "far": 0.01, "protocol": "p"}, {"value": 7, "far": 0.01, "protocol": "p"}]
)
def test_a_damaged_card_is_refused(tmp_path, stated):
    (tmp_path / "1" / "assets.extra").mkdir(parents=True)
    (tmp_path / "1" / "assets.extra" / "model_card.json").write_text(json.dumps({"threshold": stated}))
    with pytest.raises(ValueError, match=r"model_card.json.*threshold.*value"):
        export.read_threshold(tmp_path / "1")


def test_wrong_images_are_named(folder):
    with pytest.raises(ValueError, match="'gone.png' does not name an image"):
        find(folder, "gone.png", threshold=0.9)
    (folder / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="text.png"):
        find(folder, "text.png", threshold=0.9)
