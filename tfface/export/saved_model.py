"""SavedModel export of an encoder: images or image bytes in, unit-norm embeddings out."""

import pathlib

import keras
import tensorflow as tf

from tfface import files
from tfface.data.images import decode_image, ensure_image
from tfface.export.embedding import encoder_image_size, unit_embeddings


def saved_model(encoder, path):
    """Writes the encoder, without any head, as a SavedModel that TensorFlow's C++ loader can run.

    The SavedModel has two signatures, each for any number N of images, none included:

    * `serving_default` takes `image_bytes` ([N] string: whole JPEG or PNG files of aligned faces, of any size and with
      any number of channels). One undecodable image fails the whole request with an InvalidArgumentError.
    * `aligned` takes `image` ([N, H, W, 3] float32 in [-1, 1], RGB).

    Both return `embedding` ([N, D] float32, of unit length; all zeros where the encoder returns zeros). TensorFlow
    Serving looks for numbered versions inside a folder of the model's name, so `path` usually ends in a number:
    `exported/my_model/1`. The folder appears under its name only when it is complete.

    Args:
      encoder: functional or Sequential `keras.Model` from images [N, H, W, 3] to embeddings [N, D], with fixed H, W and
        D. It runs in inference mode; its own precision may be lower than float32.
      path: folder to make; parent folders are made as needed.

    Raises:
      ValueError: if `path` exists, or the encoder has other inputs or outputs.
    """
    path = pathlib.Path(path)
    if path.exists():
        raise ValueError(f"cannot export to {str(path)!r}: the path exists already.")
    image_size = encoder_image_size(encoder)

    def aligned(image):
        count = tf.shape(image)[0]
        # oneDNN's convolution gives an empty batch the wrong shape, so a grey image stands in for it.
        image = tf.concat([image, tf.zeros([tf.cast(count == 0, tf.int32), *image_size, 3])], axis=0)
        return {"embedding": unit_embeddings(encoder, image)[:count]}

    def serving_default(image_bytes):
        def decode(encoded):
            return decode_image(ensure_image(encoded), image_size)

        return aligned(tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32))

    # Not tf.saved_model.save: what it makes of a Keras 3 model loads in Python only, C++ misses its variables.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serving_default", serving_default, [tf.TensorSpec([None], tf.string, "image_bytes")])
    archive.add_endpoint("aligned", aligned, [tf.TensorSpec([None, *image_size, 3], tf.float32, "image")])

    with files.replacing(path) as unfinished:
        archive.write_out(str(unfinished), verbose=False)
