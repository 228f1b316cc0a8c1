"""The batches that the program of a training reads."""

import pathlib

import tensorflow as tf

from tfface import data
from tfface.config.train_config import TrainConfig
from tfface.jobs.training_data import batch_maker

RECORDS = pathlib.Path(__file__).parents[1] / "golden" / "0.1" / "records" / "train"


def spec(**changes):
    """The batches of one of two workers, each with 2 replicas."""
    settings = TrainConfig(run_dir="unused", train_data="unused", batch_size=8, image_size=56, **changes)
    return batch_maker(settings, data.open_records(str(RECORDS)), 0)(2, 1, 2).element_spec


def test_images_are_read_as_pixels_for_the_model_to_normalise():
    assert spec() == {"pixels": tf.TensorSpec([2, 56, 56, 3], tf.uint8), "label": tf.TensorSpec([2], tf.int64)}


def test_augmented_images_are_read_as_numbers():
    assert spec(augment=["Crop"])["image"] == tf.TensorSpec([2, 56, 56, 3], tf.float32)
