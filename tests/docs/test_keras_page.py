"""Every line of the tables in docs/keras.md: what works trains, what is refused raises a sentence."""

import inspect
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads

TEXT = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "keras.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)}
TABLES = {
    name: dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", SECTIONS[name], re.MULTILINE))
    for name in ("compile", "fit", "Callbacks")
}
IMAGES, LABELS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), np.arange(8) % 3
DATASET = tf.data.Dataset.from_tensor_slices({"image": IMAGES, "label": LABELS}).batch(4)

COMPILE = {
    "optimizer": "adam",
    "loss": "mse",
    "loss_weights": [1.0],
    "metrics": ["accuracy"],
    "weighted_metrics": ["accuracy"],
    "run_eagerly": True,
    "steps_per_execution": 2,
    "jit_compile": False,
    "auto_scale_loss": False,
}
FIT = {
    "batch_size": 4,
    "epochs": 2,
    "callbacks": [keras.callbacks.LambdaCallback()],
    "validation_split": 0.5,
    "validation_data": (IMAGES, LABELS),
    "shuffle": False,
    "class_weight": {0: 2.0},
    "sample_weight": np.ones(8, np.float32),
    "initial_epoch": 0,
    "steps_per_epoch": 1,
    "validation_steps": 1,
    "validation_batch_size": 4,
    "validation_freq": 1,
}
CALLBACKS = {
    "ModelCheckpoint": lambda folder: {"filepath": folder / "model.keras"},
    "BackupAndRestore": lambda folder: {"backup_dir": folder / "backup"},
    "EarlyStopping": lambda folder: {"monitor": "loss"},
    "ReduceLROnPlateau": lambda folder: {"monitor": "loss"},
    "LearningRateScheduler": lambda folder: {"schedule": lambda epoch, rate: rate},
    "CSVLogger": lambda folder: {"filename": str(folder / "log.csv")},
    "TerminateOnNaN": lambda folder: {},
}


def face_model():
    layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    return tfface.FaceModel(keras.Sequential(layers), heads.ArcFace(3))


def trains(model, *data, **options):
    before = model.head.get_class_weights()
    history = model.fit(*data, verbose=0, **options)
    assert np.isfinite(history.history["loss"]).all()
    assert np.abs(model.head.get_class_weights() - before).max() > 0


def test_tables_have_every_option_of_keras():
    own = {"compile": keras.Model.compile, "fit": keras.Model.fit}
    for name, method in own.items():
        assert {*TABLES[name]} == {*inspect.signature(method).parameters} - {"self", "x", "y", "verbose"}
    assert {*TABLES["Callbacks"]} == {*CALLBACKS}


@pytest.mark.parametrize("option", TABLES["compile"])
def test_compile(option):
    if TABLES["compile"][option].startswith("refused"):
        with pytest.raises(ValueError, match="the head is the loss"):
            face_model().compile(**{option: COMPILE[option]})
        return
    model = face_model()
    model.compile(**{option: COMPILE[option]})
    trains(model, DATASET)


@pytest.mark.parametrize("option", TABLES["fit"])
def test_fit(option):
    assert TABLES["fit"][option].startswith("works")
    model = face_model()
    model.compile("sgd")
    given = {option: FIT[option]}
    if option.startswith("validation"):
        given.setdefault("validation_data", (IMAGES, LABELS))
        if option == "validation_split":
            del given["validation_data"]
    trains(model, IMAGES, LABELS, **given)


@pytest.mark.parametrize("name", TABLES["Callbacks"])
def test_callbacks(name, tmp_path):
    model = face_model()
    model.compile("sgd")
    trains(model, DATASET, callbacks=[getattr(keras.callbacks, name)(**CALLBACKS[name](tmp_path))])
