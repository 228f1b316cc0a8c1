"""Networks for tests of exports, and their expected embeddings."""

import keras
import numpy as np


def expected(encoder, images):
    """The embeddings of the Keras model, [N, D], normalised by NumPy."""
    raw = encoder(images, training=False).numpy().astype(np.float64)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def built(build, seed=3):
    """A network with statistics far from 0 and 1, like a trained one, so that an export without its variables fails."""
    keras.utils.set_random_seed(seed)
    encoder, rng = build(), np.random.default_rng(seed)
    for weight in encoder.weights:
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.2, weight.shape))
        elif "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return encoder
