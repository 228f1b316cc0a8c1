"""Heads beside Keras' own objects: logits in functional models, and what a notebook shows of a head."""

import keras
import numpy as np
import pytest

from tfface import heads

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(12, 6)).astype(np.float32), RNG.integers(0, 4, 12)


@pytest.mark.parametrize("margin", [True, False])
def test_logits_work_in_a_functional_model(margin, tmp_path):
    keras.utils.set_random_seed(0)
    head = heads.ArcFace(4, scale=8.0)
    images, labels = keras.Input((6,)), keras.Input((), dtype="int32")
    embeddings = keras.layers.Dense(3)(images)
    logits = head.logits(embeddings, labels) if margin else head.logits(embeddings)
    assert logits.shape == (None, 4)
    model = keras.Model([images, labels] if margin else images, logits)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    inputs = [IMAGES, LABELS] if margin else IMAGES
    before = head.get_class_weights()
    model.fit(inputs, LABELS, verbose=0)
    assert np.abs(head.get_class_weights() - before).max() > 0
    trained = keras.Model(images, embeddings)(IMAGES)
    expected = head.logits(trained, LABELS if margin else None)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(inputs, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_a_head_shows_its_options():
    assert (
        repr(heads.ArcFace(5, margin=0.3))
        == "<ArcFace num_classes=5, scale=64.0, margin=0.3, gradient='exact', overflow='fallback'>"
    )
