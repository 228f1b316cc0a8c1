"""Networks as exports are tested with, and the embeddings that are expected of them."""

import keras
import numpy as np


def expected(encoder, images):
    """The embeddings of the Keras model, [N, D], normalised by NumPy."""
    raw = encoder(images, training=False).numpy().astype(np.float64)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def built(build, seed=3):
    """A network with statistics far from 0 and 1, as trained ones have them: one without its variables shows."""
    keras.utils.set_random_seed(seed)
    encoder, rng = build(), np.random.default_rng(seed)
    for weight in encoder.weights:
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.2, weight.shape))
        elif "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return encoder
