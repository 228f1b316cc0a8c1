"""One tiny trained encoder and its export, shared by the tests of this folder."""

import keras
import numpy as np
import pytest

from tfface.export import saved_model


@pytest.fixture(scope="session")
def encoder():
    """Encoder from [N, 56, 56, 3] to [N, 16] that has been trained one step under a head of 7 classes."""
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential(
        [
            keras.Input((56, 56, 3)),
            keras.layers.Conv2D(8, 3, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.PReLU(shared_axes=[1, 2]),
            keras.layers.Conv2D(8, 3, strides=4),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(16),
        ]
    )
    model = keras.Sequential([encoder, keras.layers.Dense(7)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    rng = np.random.default_rng(2)
    model.train_on_batch(rng.uniform(-1, 1, [4, 56, 56, 3]), rng.uniform(-1, 1, [4, 7]))
    # Statistics far from 0 and 1, so that a batch normalisation in training mode, or without its variables, shows.
    for weight in encoder.layers[1].weights:
        weight.assign(rng.uniform(0.5, 2.0, weight.shape))
    return encoder


@pytest.fixture(scope="session")
def export(encoder, tmp_path_factory):
    """SavedModel folder of `encoder`."""
    path = tmp_path_factory.mktemp("export") / "tiny" / "1"
    saved_model(encoder, path)
    return path


@pytest.fixture(scope="session")
def images():
    """Five images [5, 56, 56, 3] float32 in [-1, 1]."""
    return np.random.default_rng(3).uniform(-1, 1, [5, 56, 56, 3]).astype(np.float32)
