"""A notebook shows one short line for the last value of a cell, however much data is behind it."""

import pathlib

import numpy as np
import pytest

from tfface import data, evaluation, export, jobs
from tfface.data.conversion.convert import Conversion
from tfface.data.sources.folders import FolderSource

COUNT = 3000
KEYS = [f"person_{number}/{number:04d}.jpg" for number in range(COUNT)]


def info():
    shards = tuple(data.Shard(f"faces-{index:05d}-of-{COUNT:05d}.tfrecord", 1, "0" * 64) for index in range(COUNT))
    return data.DatasetInfo("faces", COUNT, COUNT, (112, 112), 0, tuple(KEYS), shards)


def pairs():
    labels = np.arange(COUNT) // 2
    return data.sample_pairs(KEYS, labels, 1000, seed=0)


def result():
    return evaluation.verify(embeddings().vectors, KEYS, pairs(), "toy")


def embeddings():
    vectors = np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float32)
    return export.Embeddings(vectors, KEYS, np.arange(COUNT) // 2)


def bad():
    return data.BadRecord("faces.tfrecord", 1, 0, "damaged")


VALUES = {
    "DatasetInfo(name='faces', images=3000, identities=3000, image_size=(112, 112), landmarks=0)": info,
    "Conversion({'out': DatasetInfo(name='faces', images=3000, ": lambda: Conversion(
        {"out": info()}, [(key, "damaged") for key in KEYS], FolderSource(pathlib.Path(__file__).parent)
    ),
    "Records(3000 in 3000 shards, 2 left out)": lambda: data.Records(
        tuple(KEYS), (1,) * COUNT, (bad(), bad()), {"faces.tfrecord": list(range(COUNT))}
    ),
    "ImageFolder('faces': 3000 images, 1 left out)": lambda: data.ImageFolder(
        pathlib.Path("faces"), tuple(KEYS), (("a.jpg", "damaged"),)
    ),
    "Pairs(500 genuine, 500 impostor, in 10 folds)": pairs,
    "Embeddings(3000 images of 1500 identities, 8 dimensions)": embeddings,
    "VerificationResult('toy': accuracy ": result,
    "ExportResult(path=": lambda: jobs.ExportResult(
        pathlib.Path("exported/1"), {"images": KEYS}, export.Agreement(8, 1e-7, 1.0), ["no threshold"]
    ),
    "TrainResult(before=[VerificationResult('toy': accuracy ": lambda: jobs.TrainResult(
        [result()], [result()], "run/checkpoints/step-10", pathlib.Path("run/report.html"), pathlib.Path("run/export/1")
    ),
}


@pytest.mark.parametrize("text", VALUES)
def test_reprs_are_one_short_line(text):
    shown = repr(VALUES[text]())
    assert shown.startswith(text) and "\n" not in shown and len(shown) < 600
    assert "person_" not in shown
