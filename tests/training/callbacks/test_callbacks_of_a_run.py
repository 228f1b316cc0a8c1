"""Callbacks that `tfface train --callback` asks for: they follow images of the training, and write to its folder."""

import csv

import numpy as np
import pytest
from PIL import Image

from tfface import data
from tfface.config.train_config import TrainConfig
from tfface.jobs.training import train
from tfface.jobs.training_data import sample_images
from tfface.training.callbacks.angles import read_angles


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    for person in range(6):
        (folder / f"photos/p{person}").mkdir(parents=True)
        for shot in range(4):
            pixels = np.full((56, 56, 3), 40 * person, np.uint8) + rng.integers(0, 20, (56, 56, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"photos/p{person}/{shot}.png")
    data.convert_folder(str(folder / "photos"), str(folder / "data"), workers=1)
    return folder / "data"


def settings(records, folder, **changes):
    return TrainConfig(run_dir=str(folder / "run"), train_data=str(records), image_size=56, **changes)


@pytest.mark.parametrize("count, expected", [(5, 5), (500, 24)])
def test_images_are_those_of_the_training_with_their_labels(records, tmp_path, count, expected):
    opened = data.open_records(records)
    images, labels = sample_images(settings(records, tmp_path, callback_images=count), opened)
    assert images.shape == (expected, 56, 56, 3) and images.dtype == np.float32
    # The mean of a person's pixels lies between 40 times the number and 20 more.
    np.testing.assert_array_equal((images.mean(axis=(1, 2, 3)) + 1) * 127.5 // 40, labels)
    again, _ = sample_images(settings(records, tmp_path, callback_images=count), opened)
    np.testing.assert_array_equal(again, images)
    other, _ = sample_images(settings(records, tmp_path, callback_images=count, seed=1), opened)
    assert (other != images).any()


def test_several_workers_are_refused(records, tmp_path):
    with pytest.raises(ValueError, match=r"callback=.* follows a training in one process, got strategy='multiworker'"):
        settings(records, tmp_path, callback=["AngleHistograms(every=2)"], strategy="multiworker")


@pytest.mark.slow
def test_a_training_writes_what_it_is_asked_for(records, tmp_path):
    small = {"backbone": "MobileFaceNet(width=0.25)", "embedding_dim": 16, "batch_size": 8, "deterministic": False}
    small |= {"steps": 4, "learning_rate": 3e-5, "clip_norm": 1.0}
    wanted = ["AngleHistograms(every=2)", "EmbeddingDrift(every=2, window=1)"]
    train(settings(records, tmp_path, callback=wanted, callback_images=10, **small))
    found = read_angles(tmp_path / "run/angles.npz")
    assert found.steps.tolist() == [0, 2, 4] and found.positive.sum(axis=1).tolist() == [10, 10, 10]
    for step in (2, 4):
        with (tmp_path / f"run/drift-{step}.csv").open() as file:
            assert [row["steps_before"] for row in csv.DictReader(file)] == ["0", "1"]
