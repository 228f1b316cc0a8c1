"""Keras' own ways on a FaceModel: they work as on any model, or are refused in a sentence before the first step."""

import itertools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads, losses

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(12, 6)).astype(np.float32), RNG.integers(0, 4, 12)


def encoder():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])


def face_model(head=None, **options):
    return tfface.FaceModel(encoder(), head or heads.ArcFace(4, scale=8.0), **options)


def dataset(form="dict", batch_size=6, labels=LABELS):
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, labels))
    if form == "dict":
        batches = batches.map(lambda image, label: {"image": image, "label": label})
    return batches.batch(batch_size)


# Metrics


def right(model):
    """Share of the examples whose own class has the largest plain logit."""
    return np.mean(np.argmax(model.head.logits(model.predict(IMAGES, verbose=0)), axis=1) == LABELS)


@pytest.mark.parametrize(
    ("form", "replicas"), [("dict", 1), ("pair", 1), ("dict", 2), pytest.param("pair", 2, marks=pytest.mark.slow)]
)
def test_metrics_get_the_plain_logits(form, replicas, mirrored):
    with mirrored(replicas).scope() if replicas > 1 else tf.distribute.get_strategy().scope():
        keras.utils.set_random_seed(1)
        # Replicas have batch statistics of their own, and share the examples otherwise than `predict` does.
        plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.Activation("linear")])
        model = tfface.FaceModel(plain, heads.ArcFace(4, scale=8.0))
        top = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
        if replicas > 1 and keras.__version__.startswith("3.8."):
            model.compile("sgd", metrics=["accuracy"])
            with pytest.raises(ValueError, match=r"wrong on several replicas in Keras 3\.8"):
                model.evaluate(dataset(form), verbose=0)
            return
        model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy", top], weighted_metrics=["accuracy"])
    found = model.evaluate(dataset(form, 5), verbose=0, return_dict=True)
    assert 0 < right(model) < 1
    assert found["accuracy"] == pytest.approx(right(model))
    assert found["accuracy"] < found["top2"] < 1
    history = model.fit(dataset(form, 5), epochs=4, verbose=0, validation_data=dataset(form, 5)).history
    assert history["val_accuracy"][-1] == pytest.approx(right(model))
    assert history["accuracy"][-1] > found["accuracy"]


def test_metrics_of_a_wrapped_head_are_those_of_the_head():
    model = face_model(heads.BroadFace(heads.ArcFace(4, scale=8.0), queue_size=4))
    model.compile("sgd", metrics=["accuracy"])
    found = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    logits = model.head.head.logits(model.predict(IMAGES, verbose=0))
    assert found["accuracy"] == pytest.approx(np.mean(np.argmax(logits, axis=1) == LABELS))


def test_metrics_of_a_step_come_from_before_the_step():
    model = face_model()
    model.compile(keras.optimizers.SGD(100.0), metrics=["accuracy"])
    embeddings = model.encoder(IMAGES, training=True)
    before = np.mean(np.argmax(model.head.logits(embeddings), axis=1) == LABELS)
    assert model.train_on_batch(IMAGES, LABELS, return_dict=True)["accuracy"] == pytest.approx(before)


# A new model


def test_a_new_model_is_built(tmp_path):
    model = face_model(ema_momentum=0.5)
    assert model.count_params() == sum(np.size(weight) for weight in model.get_weights())
    model.save_weights(tmp_path / "one.weights.h5")
    keras.utils.set_random_seed(1)
    other = face_model(heads.ArcFace(4, scale=8.0, class_weights_initializer="ones"), ema_momentum=0.5)
    other.load_weights(tmp_path / "one.weights.h5")
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.summary(print_fn=lambda *_, **__: None)


def test_a_new_model_is_exported(tmp_path):
    model = face_model()
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(loaded.serve(IMAGES), model.predict(IMAGES, verbose=0), atol=1e-6)


def test_backup_and_restore_continues_a_new_model(tmp_path):
    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Killed

    def fit(model, *callbacks):
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        model.fit(IMAGES, LABELS, batch_size=6, epochs=4, shuffle=False, verbose=0, callbacks=list(callbacks))
        return model

    whole = fit(face_model())
    with pytest.raises(Killed):
        fit(face_model(), keras.callbacks.BackupAndRestore(tmp_path), Kill())
    continued = fit(face_model(), keras.callbacks.BackupAndRestore(tmp_path))
    for ours, theirs in zip(continued.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


# class_weight


@pytest.mark.parametrize("form", ["dict", "pair", "dict of arrays"])
def test_class_weights_are_sample_weights_in_all_forms_of_batches(form):
    weights = {0: 3, 2: 0.25}
    models = [face_model(), face_model()]
    for model in models:
        model.compile("sgd")
    each = np.array([weights.get(label, 1.0) for label in LABELS], np.float32)
    models[0].fit(IMAGES, LABELS, batch_size=6, sample_weight=each, shuffle=False, epochs=2, verbose=0)
    if form == "dict of arrays":
        data, options = {"image": IMAGES, "label": LABELS}, {"batch_size": 6}
    else:
        data, options = dataset(form), {}
    models[1].fit(data, class_weight=weights, shuffle=False, epochs=2, verbose=0, **options)
    for ours, theirs in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


# What is refused


class Subclassed(keras.Model):
    def call(self, images):
        return images


REFUSED_ENCODERS = {
    "subclassed": Subclassed,
    "unbuilt": lambda: keras.Sequential([keras.layers.Dense(3)]),
}


@pytest.mark.parametrize("name", REFUSED_ENCODERS)
def test_an_encoder_without_shapes_is_refused(name):
    with pytest.raises(ValueError, match="does not know its shapes: pass a functional model or a Sequential"):
        tfface.FaceModel(REFUSED_ENCODERS[name](), heads.ArcFace(4))


def test_losses_and_scales_that_would_have_no_effect_are_refused():
    with pytest.raises(ValueError, match="the head is the loss .* loss='sparse_categorical_crossentropy'"):
        face_model().compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"the head is the loss .* loss_weights=\[2\.0\]"):
        face_model().compile("sgd", loss_weights=[2.0])
    model = face_model()
    model.encoder.layers[0].dtype_policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    with pytest.raises(ValueError, match="float16, .* got auto_scale_loss=False"):
        model.compile("sgd", auto_scale_loss=False)
    face_model().compile("sgd", auto_scale_loss=False)


def test_metrics_without_logits_are_refused(mirrored):
    with pytest.raises(ValueError, match=r"TripletLoss has none; compile got metrics=\['accuracy'\]"):
        face_model(losses.TripletLoss()).compile("sgd", metrics=["accuracy"])
    with mirrored(2).scope():
        model = face_model(heads.ArcFace(4, partition="replicas"))
        with pytest.raises(ValueError, match="no replica of a partitioned head"):
            model.compile("sgd", weighted_metrics=["accuracy"])


def test_an_average_beside_accumulated_gradients_is_refused():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps=2 .* micro_batches=2"):
        face_model(ema_momentum=0.9).compile(optimizer)


def test_an_epoch_without_end_is_refused():
    model = face_model()
    model.compile("sgd")
    endless = dataset().repeat()
    with pytest.raises(ValueError, match="never ends, so steps_per_epoch must be given"):
        model.fit(endless, epochs=2)
    with pytest.raises(ValueError, match="never ends, so validation_steps must be given"):
        model.fit(endless, steps_per_epoch=1, validation_data=endless)
    with pytest.raises(ValueError, match="never ends, so steps must be given"):
        model.evaluate(endless)
    model.fit(endless, steps_per_epoch=1, validation_data=endless, validation_steps=1, verbose=0)


def test_labels_of_another_rank_are_refused():
    model = face_model()
    model.compile("sgd")
    model.fit(IMAGES, LABELS, verbose=0)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"labels must have shape \[B\]"):
        model.fit(IMAGES, LABELS[:, None], verbose=0)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"labels must have shape \[B\]"):
        model.evaluate(IMAGES, LABELS[:, None], verbose=0)


def test_a_failed_assertion_is_one_sentence():
    for name, options in itertools.product(("fit", "evaluate"), ({}, {"run_eagerly": True})):
        for images, labels, words in (
            (IMAGES, LABELS + 1, r"^labels must be in \[0, 4\), the classes of ArcFace; .*; got \[[1-4 ]*\]$"),
            (IMAGES * np.nan, LABELS, "^embeddings must be finite, got NaN or infinity; [^\n]*$"),
        ):
            # A new one, because NaN reaches the statistics of the batch normalisation before it reaches the head.
            model = face_model()
            model.compile("sgd", **options)
            with pytest.raises(ValueError, match=words):
                getattr(model, name)(images, labels, verbose=0)


def test_images_of_a_dataset_of_another_size_are_refused():
    model = tfface.FaceModel(
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.BatchNormalization()]),
        heads.ArcFace(4),
    )
    model.compile("sgd")
    (good, wrong) = (
        tf.data.Dataset.from_tensors({"image": tf.zeros([2, side, side, 3]), "label": [0, 1]}) for side in (8, 9)
    )
    message = r"images must have shape \('B', 8, 8, 3\) for this encoder, got \(2, 9, 9, 3\): .* image_size=\(8, 8\)"
    with pytest.raises(ValueError, match=message):
        model.fit(good, validation_data=wrong, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.evaluate(wrong.map(lambda batch: (batch["image"], batch["label"])), verbose=0)
    assert int(model.optimizer.iterations) == 0
    model.evaluate(good, verbose=0)


def test_xla_is_used_where_it_is_asked_for(mirrored):
    model = face_model()
    for given, used in (("auto", bool(tf.config.list_physical_devices("GPU"))), (True, True), (False, False)):
        model.compile("sgd", jit_compile=given)
        assert model.jit_compile == used
    with mirrored(2).scope():
        model = face_model()
        with pytest.warns(UserWarning, match="jit_compile"):
            model.compile("sgd", jit_compile=True)
        assert not model.jit_compile


def test_a_bare_dense_at_the_end_is_named_once():
    bare = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="last")])
    with pytest.warns(UserWarning, match="ends in Dense layer 'last'.*ArcFace train badly so: add keras.layers.Batch"):
        tfface.FaceModel(bare, heads.BroadFace(heads.ArcFace(4), queue_size=2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        face_model()
        tfface.FaceModel(bare, losses.TripletLoss())


# Labels under XLA, which drops assertions


@pytest.mark.parametrize("wrapped", [pytest.param(False, marks=pytest.mark.slow), True])
def test_labels_are_checked_before_a_step_that_xla_compiles(wrapped):
    head = heads.ArcFace(4, scale=8.0)
    model = face_model(heads.HeadWithLosses(head, [(1.0, losses.RingLoss())]) if wrapped else head)
    model.supports_jit = True  # As where there is a GPU.
    model.compile("sgd", jit_compile=True)
    assert model.jit_compile
    wrong = np.where(np.arange(12) == 11, 4, LABELS)
    for use in (model.fit, model.evaluate):
        for data in (
            (dataset(labels=wrong),),
            (dataset("pair", labels=wrong),),
            (IMAGES, wrong),
            ({"image": IMAGES, "label": wrong},),
        ):
            with pytest.raises(ValueError, match=r"^labels must be in \[0, 4\), the classes of .*; got \[[0-4 ]*\]$"):
                use(*data, verbose=0)
        weighted = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS, np.ones(12, np.float32))).batch(6)
        for data in (dataset(),), (weighted,), (IMAGES, LABELS):
            use(*data, verbose=0)
    for use in (model.train_on_batch, model.test_on_batch):
        for labels in (wrong, tf.constant(wrong)):
            for data in ((IMAGES, labels), ({"image": IMAGES, "label": labels},)):
                with pytest.raises(ValueError, match=r"^labels must be in \[0, 4\), .*; got \[[0-4 ]*\]$"):
                    use(*data)
        assert np.isfinite(use(IMAGES, LABELS))
