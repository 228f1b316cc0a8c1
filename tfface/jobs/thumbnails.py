"""Small pictures of some images of a dataset, for reports."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from tfface import data
from tfface.jobs.embedding import is_image_folder


def read_thumbnails(images, keys, side=112):
    """Decodes images and encodes them anew, so that nothing but pixels is taken over.

    Args:
      images: records (dataset folder or glob, or `tfface.data.Records`), or a folder of images.
      keys: iterable of str, which of them; those that are not there are left out.
      side: int, height and width of the pictures in pixels.

    Returns:
      dict from key to the bytes of a JPEG file.

    Raises:
      ValueError: the images are not of that form, or a record that is read is damaged.
    """
    keys = set(keys)
    if is_image_folder(images):
        there = sorted(keys & set(data.find_images(images).keys))
        return _pictures(data.folder_dataset(images, there, 1, side).unbatch() if there else [])
    wanted = tf.constant(sorted(keys), tf.string)
    records = data.open_records(images)
    pixels = (
        records.read_all()
        .map(data.parse_example)
        .filter(lambda record: tf.reduce_any(record["key"] == wanted))
        # Not to read on once all are found.
        .take(len(keys))
        .map(lambda record: {"image": data.decode_image(record["image"], side), "key": record["key"]})
    )
    with data.naming_bad_records(records):
        return _pictures(pixels)


def _pictures(pixels):
    return {one["key"].numpy().decode(): _jpeg(one["image"].numpy()) for one in pixels}


def _jpeg(pixels):
    picture = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(pixels * 127.5 + 127.5))).save(picture, "JPEG", quality=88)
    return picture.getvalue()
