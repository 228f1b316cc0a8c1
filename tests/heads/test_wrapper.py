"""Whatever goes around a head is a head: one interface through any number of wrappers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from components import HEADS

import tfface
from tfface import heads, losses
from tfface.classifier.samplers.hash_forest import HashForestSampler
from tfface.classifier.samplers.uniform import UniformSampler
from tfface.training.callbacks.drift import EmbeddingDrift
from tfface.training.callbacks.rebuild_forest import RebuildForest

CLASSES, DIM = 9, 4
X = np.random.default_rng(0).normal(size=(8, DIM)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 5, 8, 0])
WEIGHTS = np.linspace(0, 2, 8).astype(np.float32)

AROUND = {
    "BroadFace": lambda head: heads.BroadFace(head, queue_size=16),
    "losses": lambda head: heads.HeadWithLosses(head, [(0.5, losses.IntraLoss())]),
    "losses of BroadFace": lambda head: heads.HeadWithLosses(heads.BroadFace(head, 16), [(0.5, losses.IntraLoss())]),
    "BroadFace of losses": lambda head: heads.BroadFace(heads.HeadWithLosses(head, [(0.5, losses.IntraLoss())]), 16),
}
every_wrapper = pytest.mark.parametrize("around", AROUND)


def encoder():
    return keras.Sequential([keras.Input((DIM,)), keras.layers.Dense(DIM)])


def model_of(head):
    keras.utils.set_random_seed(1)
    model = tfface.FaceModel(encoder(), head)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


@every_wrapper
def test_interface(around, tmp_path):
    inner = heads.SubCenterArcFace(CLASSES, sub_centers=2)
    head = AROUND[around](inner)
    model = model_of(head)
    assert (head.num_classes, head.sub_centers, head.sampler, head.partition) == (CLASSES, 2, None, None)
    assert head.class_weights is inner.class_weights and head.class_rows is inner.class_rows
    head.set_class_weights(np.full([2 * CLASSES, DIM], 0.5, np.float32))
    np.testing.assert_array_equal(inner.get_class_weights(), head.get_class_weights())
    np.testing.assert_array_equal(head.logits(X, LABELS), inner.logits(X, LABELS))
    plain = head(X, LABELS, training=False)
    np.testing.assert_allclose(head(X, LABELS, training=False, sample_weight=WEIGHTS), plain * WEIGHTS, rtol=1e-6)
    model.fit(X, LABELS, sample_weight=WEIGHTS, batch_size=4, verbose=0)
    drift = EmbeddingDrift(tmp_path, X, LABELS, every=2, start_step=0, total_steps=2, window=1)
    model.fit(X, LABELS, batch_size=4, verbose=0, callbacks=[drift])
    assert (tmp_path / "drift-2.csv").is_file()


@every_wrapper
def test_the_forest_is_rebuilt_through_it(around):
    inner = heads.ArcFace(CLASSES, sampler=HashForestSampler(0.5, leaf_size=2))
    model = model_of(AROUND[around](inner))
    model.fit(X, LABELS, batch_size=4, verbose=0, callbacks=[RebuildForest(model.head, every=1)])
    assert sorted(set(inner.sampler.leaves.numpy().ravel()) - {-1}) == list(range(CLASSES))


@pytest.mark.parametrize("reach, to_x, to_weights", [("embeddings", True, False), ("weights", False, True)])
@pytest.mark.parametrize("around", ["BroadFace", "losses", "BroadFace of losses"])
def test_reach(around, reach, to_x, to_weights):
    head = AROUND[around](heads.ArcFace(CLASSES))
    head.build(X.shape)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(head(x, LABELS, training=True, reach=reach))
    by_x, by_weights = tape.gradient(total, [x, head.class_weights.value], unconnected_gradients="zero")
    assert (bool(np.any(by_x)), bool(np.any(by_weights))) == (to_x, to_weights)


def test_losses_alone_train_an_encoder(tmp_path):
    model = model_of(heads.LossesAlone([(2.0, losses.TripletLoss()), (1.0, losses.RingLoss(3.0))]))
    embeddings = model.encoder(X)
    expected = 2.0 * losses.TripletLoss()(embeddings, LABELS) + 0.5 * (np.linalg.norm(embeddings, axis=1) - 3.0) ** 2
    np.testing.assert_allclose(model.head(embeddings, LABELS), expected, rtol=1e-5)
    first, last = (model.fit(X, LABELS, sample_weight=WEIGHTS, epochs=8, verbose=0).history["loss"][n] for n in (0, -1))
    assert last < first
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.head(embeddings, LABELS), model.head(embeddings, LABELS), rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: heads.BroadFace(heads.LossesAlone([(1.0, losses.TripletLoss())])),
            "BroadFace wraps a head of classes",
        ),
        (lambda: heads.BroadFace(AROUND["losses of BroadFace"](heads.ArcFace(3))), "BroadFace is around this head"),
        (lambda: heads.LossesAlone([(1.0, losses.IntraLoss())]), "must take embeddings, labels only.*IntraLoss"),
        (lambda: heads.LossesAlone([]), "at least one pair"),
        (lambda: heads.SphereFace2(9, scale=32), "SphereFace2 has no scale; radius is the factor.*It has .*balance"),
        (lambda: heads.RandArcFace(9, sampler=UniformSampler(0.5)), "RandArcFace has a sampler of its own.*ArcFace"),
        (lambda: heads.DSoftmaxK(9, sampler=HashForestSampler(0.5)), "HashForestSampler to DSoftmax"),
        (lambda: tfface.FaceModel(encoder(), heads.BroadFace(heads.DSoftmaxB(9)), 2), "micro_batches must"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dsoftmax_with_the_intra_class_term_alone():
    head = heads.DSoftmax(CLASSES, scale=8.0, inter="none")
    head.build(X.shape)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, head.get_class_weights())]
    targets = np.sum(unit[0] * unit[1][LABELS], axis=1)
    np.testing.assert_allclose(head(X, LABELS), np.log1p(np.exp(8.0 * (0.9 - targets))), rtol=1e-5)


RANDOM = [name for name in HEADS if "Rand" in name or name in ("DSoftmaxB", "DSoftmaxK")]


@pytest.mark.parametrize("name", RANDOM)
def test_a_loaded_model_draws_what_the_saved_one_would_have(name, tmp_path):
    options = {} if name == "DSoftmaxB" else {"sampling_rate": 0.4}
    model = model_of(getattr(heads, name)(CLASSES, **options))
    model.fit(X, LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    curves = [one.fit(X, LABELS, epochs=5, shuffle=False, verbose=0).history["loss"] for one in (model, again)]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-6)
