"""Signatures of an exported encoder, as graph functions."""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfface.data.images.alignment import align_image
from tfface.data.images.decoding import decode_image, ensure_image
from tfface.export.embedding.embedder import encoder_image_size, unit_embeddings
from tfface.export.flip import with_mirror


def signatures(
    encoder: keras.Model, flip: bool = False, threshold: float | None = None
) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]:
    """Makes the signatures that `saved_model` describes.

    Args:
      encoder: keras.Model from images [N, H, W, 3] to embeddings [N, D], with H, W and D fixed.
      flip: bool, whether to add the embedding of the flipped image.
      threshold: float, smallest similarity at which `compare` says that two images show one person, or None.

    Returns:
      dict from name to (function from tensors to a dict of tensors, list of the `tf.TensorSpec` of its inputs).

    Raises:
      ValueError: the encoder has other inputs or outputs.
    """
    image_size = encoder_image_size(encoder)
    face_size = _face_size(image_size)
    if flip:
        encoder = with_mirror(encoder)

    # A function of its own, so that the graph holds the network once and not once per signature.
    @tf.function(input_signature=[tf.TensorSpec([None, *image_size, 3], tf.float32)], autograph=False)
    def embed(image):
        count = tf.shape(image)[0]
        # oneDNN's convolution gives an empty batch the wrong shape, so a grey image stands in for it.
        image = tf.concat([image, tf.zeros([tf.cast(count == 0, tf.int32), *image_size, 3])], axis=0)
        return unit_embeddings(encoder, image)[:count]

    def aligned(image):
        return {"embedding": embed(image)}

    def serving_default(image_bytes):
        def decode(encoded):
            return decode_image(ensure_image(encoded), image_size, upright=True)

        return aligned(_each(decode, image_bytes))

    def detect_free_align(image_bytes, landmarks):
        def cut(photograph):
            encoded, points = photograph
            # Encoded again, because training also decodes aligned faces from image files.
            return decode_image(tf.io.encode_png(align_image(ensure_image(encoded), points, face_size)), image_size)

        with _same_count(image_bytes, landmarks):
            return aligned(_each(cut, (image_bytes, landmarks)))

    def compare(first_bytes, second_bytes):
        with _same_count(first_bytes, second_bytes):
            both = serving_default(tf.concat([first_bytes, second_bytes], axis=0))["embedding"]
        first, second = tf.split(both, 2)
        similarity = tf.reduce_sum(first * second, axis=-1)
        if threshold is None:
            return {"similarity": similarity}
        # One threshold per pair, because TensorFlow Serving splits the rows of a merged batch among its requests.
        thresholds = tf.fill(tf.shape(similarity), tf.constant(threshold, tf.float32))
        return {"similarity": similarity, "same": similarity >= thresholds, "threshold": thresholds}

    def strings(name):
        return tf.TensorSpec([None], tf.string, name)

    made: dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]] = {
        "serving_default": (serving_default, [strings("image_bytes")]),
        "aligned": (aligned, [tf.TensorSpec([None, *image_size, 3], tf.float32, "image")]),
        "compare": (compare, [strings("first_bytes"), strings("second_bytes")]),
    }
    if face_size:
        landmarks = tf.TensorSpec([None, 5, 2], tf.float32, "landmarks")
        made["detect_free_align"] = (detect_free_align, [strings("image_bytes"), landmarks])
    return made


def _each(decode, rows):
    # A few at a time, because photographs may be large: aligning one of 64 megapixels takes 0.8 GB.
    return tf.map_fn(decode, rows, fn_output_signature=tf.float32, parallel_iterations=4)


def _same_count(first, second):
    """Context whose operations run only if two batches have equal length; others would be broadcast or cut short."""
    message = "the two inputs of a request must have one row for each image"
    return tf.control_dependencies(
        [tf.debugging.assert_equal(tf.shape(first)[0], tf.shape(second)[0], message=message)]
    )


def _face_size(image_size):
    """Returns the size to align faces at before they are resized to the network's input; None if no size fits it."""
    height, width = image_size
    return next((size for size in ((112, 112), (112, 96)) if size[0] * width == size[1] * height), None)
