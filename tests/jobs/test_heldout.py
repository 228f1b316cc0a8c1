"""Verification during training: on records, lists of their pairs, and protocols with images of their own."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import data
from tfface.config.train_config import TrainConfig
from tfface.data.synthetic import rendering
from tfface.jobs.heldout import HeldOut


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Faces of 24 people as a folder and as records, and a list of their pairs in two folds."""
    folder = tmp_path_factory.mktemp("heldout")
    rendering.write_folder(str(folder / "faces"), 24, 4, 56, 0, 1, lambda _: None)
    data.convert_folder(str(folder / "faces"), folder / "records", name="faces")
    keys = sorted(str(path.relative_to(folder / "faces")) for path in (folder / "faces").glob("*/*"))
    people = np.unique([key.split("/")[0] for key in keys], return_inverse=True)[1]
    data.write_pairs(folder / "pairs.csv", data.sample_pairs(keys, people, 40, seed=0, folds=2))
    data.write_pairs(folder / "others.csv", data.sample_pairs(keys, people, 40, seed=1, folds=2))
    return folder


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((56, 56, 3)), keras.layers.AveragePooling2D(8), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(8), keras.layers.BatchNormalization()])


def heldout(folder, encoder, records=True, **changes):
    settings = TrainConfig(run_dir="r", train_data="t", image_size=56, heldout_pairs=40, **changes)
    opened = data.open_records(folder / "records") if records else None
    return HeldOut(settings, encoder, opened, folder / "missing.txt")


def of(folder, name):
    return f"PairList(root='{folder}/faces', file='{folder}/{name}.csv', name='{name}')"


def test_a_protocol_of_files_and_a_list_of_records_measure_the_same(folder, encoder):
    found = heldout(folder, encoder, protocol=[f"{folder}/pairs.csv", of(folder, "others")])
    by_list, by_protocol = found.verify()
    assert [by_list.name, by_protocol.name] == ["pairs", "others"]
    (same,) = heldout(folder, encoder, records=False, protocol=[of(folder, "pairs")]).verify()
    np.testing.assert_allclose(same.genuine_scores, by_list.genuine_scores, atol=1e-6)
    assert same.accuracy.mean == by_list.accuracy.mean
    assert found.described["others"].startswith("official, ")


def test_the_networks_current_weights_count(folder, encoder):
    found = heldout(folder, encoder, records=False, protocol=[of(folder, "pairs")], precision="float32")
    (before,) = found.verify()
    kernel = encoder.layers[-2].kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, [0, 1]))
    (after,) = found.verify()
    assert not np.allclose(before.genuine_scores, after.genuine_scores)


def test_the_report_has_every_list_with_its_pictures(folder, encoder, tmp_path):
    found = heldout(folder, encoder, protocol=[f"{folder}/pairs.csv", of(folder, "others")])
    results = found.report(tmp_path, {"model": "m"}, "A run", [])
    written = json.loads((tmp_path / "results.json").read_text())["results"]
    assert [each["name"] for each in written] == [each.name for each in results] == ["pairs", "others"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # Two lists, two kinds, eight pairs each.
    assert page.count("data:image/jpeg") == 64
    assert "Identification" in page


@pytest.mark.parametrize(
    "protocol, records, message",
    [
        (["PAIRS"], False, "--heldout_data is needed: it names the images of .*pairs.csv"),
        (
            ["PairList(root='FOLDER/faces', file='PAIRS', name='pairs')", "PAIRS"],
            True,
            "two lists of pairs are named pairs",
        ),
        (
            ["Retrieval(records='FOLDER/records')"],
            True,
            "is not verified while training: measure it by tfface evaluate",
        ),
        (
            ["YTF(frames='FOLDER/faces', splits='FOLDER/splits.txt')"],
            False,
            "is not verified while training: measure it by tfface evaluate",
        ),
        (["LFV(root='x', pairs='y')"], True, "LFV"),
    ],
)
def test_what_cannot_be_verified_on_is_named(protocol, records, message, folder, encoder):
    videos = "split number, pair number, first name, second name, is same?\n1, 1, A/0, A/1, 1\n"
    (folder / "splits.txt").write_text(videos)
    protocol = [each.replace("PAIRS", f"{folder}/pairs.csv").replace("FOLDER", str(folder)) for each in protocol]
    with pytest.raises(ValueError, match=message):
        heldout(folder, encoder, records, protocol=protocol)


def test_missing_images_of_a_protocol_are_an_error_unless_allowed(folder, encoder, tmp_path):
    rows = (folder / "pairs.csv").read_text().splitlines()
    left = rows[1].split(",")[0]
    (folder / "less.csv").write_text("\n".join(row.replace(left, "gone/1.png") for row in rows) + "\n")
    with pytest.raises(ValueError, match=r"less: .*missing.*--allow_missing"):
        heldout(folder, encoder, records=False, protocol=[of(folder, "less")])
    found = heldout(folder, encoder, records=False, protocol=[of(folder, "less")], allow_missing=True)
    assert "missing" in found.described["less"]
