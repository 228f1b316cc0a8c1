"""A model with the signatures of an export, and its embeddings by Keras in this process."""

import inspect

import keras
import numpy as np
import tensorflow as tf

from tfface.data.alignment import align_image
from tfface.data.images import decode_image
from tfface.export import saved_model

THRESHOLD = 0.25


def embed(encoder, pixels):
    """Unit embeddings of uint8 [N, 112, 112, 3] by the Keras model."""
    raw = encoder((pixels / np.float32(127.5) - 1).astype(np.float32), training=False).numpy()
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def export(encoder, path, threshold):
    """Writes the SavedModel of an encoder of 112 x 112 pixels; the threshold may be None."""
    if "threshold" in inspect.signature(saved_model).parameters:
        saved_model(encoder, path, threshold=threshold)
    else:
        _export_by_hand(encoder, path, threshold)


def _export_by_hand(encoder, path, threshold):
    """The signatures of an export, for a library whose own has not all of them yet."""

    def embed(image):
        # oneDNN's convolution fails for an empty batch.
        padded = tf.concat([image, tf.zeros([1, 112, 112, 3])], axis=0)
        return tf.math.l2_normalize(encoder(padded, training=False), axis=-1)[:-1]

    def decoded(image_bytes):
        return tf.map_fn(lambda data: decode_image(data, 112), image_bytes, fn_output_signature=tf.float32)

    def detect_free_align(image_bytes, landmarks):
        def align(row):
            return tf.cast(align_image(row[0], row[1]), tf.float32) / 127.5 - 1

        return {"embedding": embed(tf.map_fn(align, (image_bytes, landmarks), fn_output_signature=tf.float32))}

    def compare(first_bytes, second_bytes):
        similarity = tf.reduce_sum(embed(decoded(first_bytes)) * embed(decoded(second_bytes)), axis=-1)
        if threshold is None:
            return {"similarity": similarity}
        level = tf.fill(tf.shape(similarity), np.float32(threshold))
        return {"similarity": similarity, "same": similarity >= level, "threshold": level}

    def strings(*names):
        return [tf.TensorSpec([None], tf.string, name) for name in names]

    archive = keras.export.ExportArchive()
    archive.track(encoder)
    archive.add_endpoint(
        "serving_default", lambda image_bytes: {"embedding": embed(decoded(image_bytes))}, strings("image_bytes")
    )
    archive.add_endpoint(
        "aligned", lambda image: {"embedding": embed(image)}, [tf.TensorSpec([None, 112, 112, 3], tf.float32, "image")]
    )
    archive.add_endpoint(
        "detect_free_align",
        detect_free_align,
        [*strings("image_bytes"), tf.TensorSpec([None, 5, 2], tf.float32, "landmarks")],
    )
    archive.add_endpoint("compare", compare, strings("first_bytes", "second_bytes"))
    archive.write_out(str(path), verbose=False)
