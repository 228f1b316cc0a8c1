"""FaceModel in ordinary Keras use, against a training loop written out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads


def small_encoder(dim=8):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(dim, kernel_regularizer=keras.regularizers.L2(1e-3)),
        ]
    )


def batch(size=12, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (size, 8, 8, 3)).astype(np.float32), rng.integers(0, classes, size)


def test_fit_equals_a_loop_by_hand():
    images, labels = batch()
    model = tfface.FaceModel(small_encoder(), heads.CosFace(5, scale=8.0))
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))

    encoder = small_encoder()
    head = heads.CosFace(5, scale=8.0)
    head.build((None, 8))
    head.set_class_weights(model.head.get_class_weights())
    weights = [*encoder.trainable_weights, *head.trainable_weights]
    velocity = [np.zeros(w.shape) for w in weights]
    for _ in range(4):
        with tf.GradientTape() as tape:
            embeddings = encoder(images)
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, head.logits(embeddings, labels))
            loss = tf.reduce_mean(cross_entropy) + 1e-3 * tf.reduce_sum(encoder.layers[-1].kernel ** 2)
        for i, (weight, gradient) in enumerate(zip(weights, tape.gradient(loss, weights), strict=True)):
            velocity[i] = 0.9 * velocity[i] - 0.1 * gradient.numpy()
            weight.assign(weight.numpy() + velocity[i])

    dataset = tf.data.Dataset.from_tensors({"image": images, "label": labels}).repeat()
    model.fit(dataset, steps_per_epoch=4, verbose=0)
    for got, expected in zip(model.trainable_weights, weights, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_dict_batches_and_pairs_are_the_same():
    images, labels = batch()
    model = tfface.FaceModel(small_encoder(), heads.ArcFace(5))
    model.compile(optimizer="sgd")
    as_pairs = model.evaluate(images, labels, batch_size=12, verbose=0)
    as_dict = model.evaluate(tf.data.Dataset.from_tensors({"image": images, "label": labels}), verbose=0)
    assert as_pairs == pytest.approx(as_dict, rel=1e-6)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_pixels_train_like_their_images(micro_batches):
    pixels, labels = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), np.uint8), batch()[1]
    images = (np.float32(pixels) - 127.5) * np.float32(1 / 127.5)
    losses, embeddings = [], []
    for name, values in (("pixels", pixels), ("image", images)):
        model = tfface.FaceModel(small_encoder(), heads.ArcFace(5), micro_batches=micro_batches)
        model.head.set_class_weights(np.eye(5, 8))
        model.compile(keras.optimizers.SGD(0.1))
        dataset = tf.data.Dataset.from_tensors({name: values, "label": labels}).repeat(3)
        losses.append([*model.fit(dataset, verbose=0).history["loss"], model.evaluate(dataset, verbose=0)])
        embeddings.append(model.predict(dataset, verbose=0))
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*embeddings)


def test_uint8_images_reach_an_encoder_that_normalises_by_itself():
    pixels = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), small_encoder()])
    model = tfface.FaceModel(own, heads.ArcFace(5))
    np.testing.assert_allclose(model.predict(pixels, verbose=0), own(np.float32(pixels)), atol=1e-5)


def test_predict_is_the_encoder():
    images, _ = batch()
    model = tfface.FaceModel(small_encoder(), heads.ArcFace(5))
    np.testing.assert_allclose(model.predict(images, verbose=0), model.encoder(images), atol=1e-6)


def test_keras_file_keeps_encoder_head_and_optimizer(tmp_path):
    images, labels = batch()
    model = tfface.FaceModel(small_encoder(), heads.ArcFace(5, margin=0.3))
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    model.fit(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.head.margin == 0.3
    for one in (model, again):
        one.fit(images, labels, verbose=0, shuffle=False)
    for got, expected in zip(again.weights, model.weights, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_mixed_precision_keeps_the_head_in_float32():
    images, labels = batch()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = tfface.FaceModel(small_encoder(), heads.ArcFace(5))
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(optimizer="sgd")
    model.fit(images, labels, verbose=0)
    assert model.head(model(images), labels).dtype == tf.float32
    assert model.head.class_weights.dtype == "float32"


def test_an_encoder_without_embeddings_is_refused():
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match=r"\(None, 8, 8, 3\)"):
        tfface.FaceModel(keras.Model(inputs, inputs), heads.ArcFace(5))


def test_labels_are_needed():
    images, _ = batch()
    model = tfface.FaceModel(small_encoder(), heads.ArcFace(5))
    model.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="needs labels"):
        model.fit(images, verbose=0)
