"""The drift callback against embeddings that are known in advance."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

import tfface
from tfface import heads
from tfface.training.callbacks.drift import EmbeddingDrift


class Plane(keras.callbacks.Callback):
    """Turns the encoder and the class weights by 1° and 0.5° per step in the plane, after the step."""

    def on_train_batch_end(self, batch, logs=None):
        self.step = getattr(self, "step", 0) + 1
        for variable, degrees in ((self.model.encoder.layers[-1].kernel, 1.0), (self.model.head.class_weights, 0.5)):
            angle = np.radians(degrees * self.step)
            variable.assign(np.array([[np.cos(angle), np.sin(angle)]] * variable.shape[0], np.float32))


def test_drift_of_a_rotation(tmp_path):
    encoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    model = tfface.FaceModel(encoder, heads.CosFace(3))
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    drift = EmbeddingDrift(tmp_path, np.ones((4, 1)), [0, 1, 2, 0], every=10, start_step=0, total_steps=26, window=5)
    model.fit(np.ones((26, 1)), np.zeros(26, int), batch_size=1, verbose=0, callbacks=[Plane(), drift])
    assert {path.name for path in tmp_path.iterdir()} == {
        f"drift-{n}.{kind}" for n in (10, 20, 26) for kind in ("csv", "png", "npz")
    }
    for step in (10, 20, 26):
        with (tmp_path / f"drift-{step}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["steps_before"]) for row in rows] == [0, 1, 2, 3, 4, 5]
        for age, row in enumerate(rows):
            assert float(row["without_compensation"]) == pytest.approx(1 - np.cos(np.radians(age)), abs=2e-6)
            # Moved as far as the class weights did: e⁻ + (W − W⁻), all of length 1.
            now, then = (np.exp(1j * np.radians(0.5 * number)) for number in (step, step - age))
            moved = np.exp(1j * np.radians(step - age)) + now - then
            expected = 1 - (moved / abs(moved) * np.exp(-1j * np.radians(step))).real
            assert float(row["with_compensation"]) == pytest.approx(expected, abs=2e-6)
    ends = np.load(tmp_path / "drift-26.npz")
    for name, angle in (("past", 21.0), ("current", 26.0)):
        np.testing.assert_allclose(ends[name], [[np.cos(np.radians(angle)), np.sin(np.radians(angle))]] * 4, atol=1e-5)
    moved = np.exp(1j * np.radians(21.0)) + np.exp(1j * np.radians(13.0)) - np.exp(1j * np.radians(10.5))
    np.testing.assert_allclose(ends["compensated"], [[moved.real, moved.imag]] * 4, atol=1e-5)
    with Image.open(tmp_path / "drift-26.png") as picture:
        assert picture.width >= 700


def test_a_window_longer_than_its_turn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"window must be in \[1, 10\], .* got 11"):
        EmbeddingDrift(tmp_path, [], [], every=10, start_step=0, total_steps=26, window=11)
