"""Verification after each epoch of `model.fit`: by numbers of scikit-learn, from arrays and records; the best model."""

import pathlib
import re

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import tfface
from tfface import data, heads
from tfface.data.synthetic import rendering
from tfface.training.callbacks import EpochVerification

SIDE, PEOPLE, IMAGES = 32, 8, 4
DOCS = pathlib.Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Held-out records of eight people, with four images each."""
    folder = tmp_path_factory.mktemp("epochs")
    rendering.write_folder(folder / "faces", PEOPLE, IMAGES, SIDE)
    data.convert_folder(folder / "faces", folder / "records")
    return folder / "records"


@pytest.fixture(scope="module")
def arrays(records):
    """The images, people and keys of the records."""
    batches = list(data.eval_dataset(records, 64, SIDE).as_numpy_iterator())
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("image", "label", "key"))


def face_model(**options):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.AveragePooling2D(4), keras.layers.Flatten()]
    layers += [keras.layers.Dense(4), keras.layers.BatchNormalization()]
    model = tfface.FaceModel(keras.Sequential(layers), heads.NormSoftmax(3, scale=8.0), **options)
    model.compile(keras.optimizers.SGD(0.5))
    return model


def fit(model, *callbacks, epochs=3):
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(-1, 1, (12, SIDE, SIDE, 3)).astype(np.float32), np.arange(12) % 3
    return model.fit(images, labels, batch_size=4, epochs=epochs, verbose=0, callbacks=[*callbacks]).history


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_arrays_and_records_give_the_accuracy_of_the_network_of_that_epoch(records, arrays, ema):
    images, people, keys = arrays
    of_arrays = EpochVerification(images, [f"person {number}" for number in people])
    of_records = EpochVerification(data.eval_dataset(records, 5, SIDE))
    model = face_model(ema_momentum=ema)
    seen = []

    class Oracle(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            network = self.model.ema_encoder if ema else self.model.encoder
            vectors = network.predict(images, verbose=0)
            unit = dict(zip(keys.astype(str), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))
            pairs = of_records.pairs
            cosines = [unit[left] @ unit[right] for left, right in zip(pairs.left, pairs.right, strict=True)]
            seen.append((logs["val_verification"], roc_auc_score(pairs.same, cosines), of_records.result.auc))

    history = fit(model, of_records, Oracle(), of_arrays)
    for logged, oracle, auc in seen:
        assert auc == pytest.approx(oracle, abs=1e-6) and 0 <= logged <= 1
    assert len({auc for *_, auc in seen}) > 1
    # The draw goes by the order of keys: that of the arrays is the same, under other names.
    assert history["val_verification"][-1] == of_arrays.result.accuracy.mean == of_records.result.accuracy.mean
    assert len(of_arrays.pairs.left) > 20


def test_the_best_model_by_it_is_kept(arrays, tmp_path):
    images, people, _ = arrays
    path = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(path, monitor="val_verification", mode="max", save_best_only=True)
    verification = EpochVerification(images, people)
    history = fit(face_model(), verification, best, epochs=4)["val_verification"]
    assert len(set(history)) > 1
    kept = keras.models.load_model(path)
    vectors = kept.predict(images, verbose=0)
    result = tfface.evaluation.verify(vectors, np.arange(len(images)).astype(str), verification.pairs)
    assert result.accuracy.mean == max(history)


def test_own_pairs_and_epochs_between(arrays):
    images, people, _ = arrays
    pairs = data.sample_pairs(np.arange(len(images)).astype(str), people, 8, seed=3, folds=2)
    verification = EpochVerification(images, people, pairs, every=2)
    assert len(fit(face_model(), verification, epochs=5)["val_verification"]) == 2
    assert len(verification.result.genuine_scores) == 4


def test_what_does_not_fit_is_refused(records, arrays):
    images, people, _ = arrays
    without = data.eval_dataset(records, 4, SIDE).map(lambda batch: {name: batch[name] for name in ("image", "key")})
    for arguments, words in (
        ((images, people[:-1]), "each of the 32 images"),
        ((data.eval_dataset(records, 4, SIDE), people), "y must be None"),
        ((without,), "give pairs"),
        ((images, people, None), "every must be at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            EpochVerification(*arguments, every=0 if "every" in words else 1)
    with pytest.raises(ValueError, match="two folds need four identities, got 3"):
        fit(face_model(), EpochVerification(images, people % 3))


def test_example_of_the_page_runs_and_writes_its_best_model(tmp_path, monkeypatch, capsys):
    text = (DOCS / "keras.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"## Verification after each epoch\n.*?```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert len(names["history"]["accuracy"]) == len(names["history"]["val_verification"]) == 3
    assert (tmp_path / "best.keras").is_file() and "VerificationResult" in capsys.readouterr().out
