"""A small network, and images in the forms that are embedded, for tests of pieces."""

import keras
import numpy as np
from PIL import Image

from tfface import data

PEOPLE, SHOTS = 10, 15


def save_model(path):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 5, strides=2), keras.layers.Flatten()]
    keras.Sequential([*layers, keras.layers.Dense(8)]).save(path)
    return path


def write_photos(root):
    """150 photographs of 10 people: three pieces of batches of one."""
    rng = np.random.default_rng(0)
    for person in range(PEOPLE):
        (root / f"p{person}").mkdir(parents=True)
        for shot in range(SHOTS):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(root / f"p{person}" / f"{shot:02d}.png")
    return root


def write_records(photos, output):
    data.convert_folder(str(photos), str(output), name="photos", num_shards=4, workers=1)
    return output
