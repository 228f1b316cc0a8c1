"""Small pictures of some images of a dataset, for reports."""

import dataclasses
import io
import os
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from PIL import Image

from tfface import data
from tfface.jobs.image_folders import is_image_folder


def read_thumbnails(
    images: str | os.PathLike | data.Records | data.ImageFolder, keys: Iterable[str], side: int = 112
) -> dict[str, bytes]:
    """Decodes images and encodes them again, so that a report holds their pixels and nothing else of their files.

    Args:
      images: records (dataset folder or glob, or `tfface.data.Records`), or a folder of images
        (also as `tfface.data.ImageFolder`).
      keys: iterable of str, the images to read; absent ones are left out.
      side: int, height and width of the pictures, pixels.

    Returns:
      dict from key to the bytes of a JPEG file.

    Raises:
      ValueError: the images are not of that form, or a record that is read is damaged.
    """
    keys = set(keys)
    if is_image_folder(images):
        if not isinstance(images, data.ImageFolder):
            images = data.ImageFolder(pathlib.Path(images), tuple(data.find_images(images).keys))
        there = sorted(keys & set(images.keys))
        with data.naming_bad_files(dataclasses.replace(images, keys=tuple(there))):
            return _pictures(data.folder_dataset(images.root, there, 1, side).unbatch() if there else [])
    wanted = tf.constant(sorted(keys), tf.string)
    records = data.open_records(images)
    pixels = (
        records.read_all()
        .map(data.parse_example)
        .filter(lambda record: tf.reduce_any(record["key"] == wanted))
        # Stops reading once all are found.
        .take(len(keys))
        .map(lambda record: {"image": data.decode_image(record["image"], side), "key": record["key"]})
    )
    with data.naming_bad_records(records):
        return _pictures(pixels)


def decode_thumbnails(images: Mapping[str, bytes], side: int = 112) -> dict[str, bytes]:
    """Does the same for encoded images: dict from key to the bytes of a JPEG or PNG file."""
    return {key: _jpeg(data.decode_image(image, side).numpy()) for key, image in images.items()}


def _pictures(pixels):
    return {one["key"].numpy().decode(): _jpeg(one["image"].numpy()) for one in pixels}


def _jpeg(pixels):
    picture = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(pixels * 127.5 + 127.5))).save(picture, "JPEG", quality=88)
    return picture.getvalue()
