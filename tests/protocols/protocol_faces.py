"""Drawn people, a network that NumPy can repeat, and rates by trial of every threshold: oracles of the protocols.

Nothing here uses the library: images are read by Pillow, the network is two matrix products, every rate is a loop.
"""

import io
import math
import pathlib

import keras
import numpy as np
from PIL import Image

SIZE, BLOCK, DIM = 112, 16, 12


def draw(person, number, noise=70.0):
    """Pixels of an image of a person, uint8 [112, 112, 3]; `noise` sets how hard people are to tell apart."""
    own = np.random.default_rng([person, 7]).uniform(60, 190, (SIZE // BLOCK, SIZE // BLOCK, 3))
    moved = own + np.random.default_rng([person, number, 8]).normal(0, noise, own.shape)
    return np.kron(np.clip(moved, 0, 255), np.ones((BLOCK, BLOCK, 1))).astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, pixels):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels))


def weights(seed=3):
    return np.random.default_rng(seed).normal(size=((SIZE // BLOCK) ** 2 * 3, DIM)).astype(np.float32)


def save_encoder(path, seed=3):
    """Writes a .keras file: means of blocks, then a matrix."""
    layers = [
        keras.Input((SIZE, SIZE, 3)),
        keras.layers.AveragePooling2D(BLOCK),
        keras.layers.Flatten(),
        keras.layers.Dense(DIM, use_bias=False, name="matrix"),
    ]
    model = keras.Sequential(layers)
    model.get_layer("matrix").set_weights([weights(seed)])
    model.save(path)
    return path


def raw(pixels, seed=3):
    """The network's output for an image, float64 [DIM]."""
    blocks = (pixels.astype(float) / 127.5 - 1).reshape(SIZE // BLOCK, BLOCK, SIZE // BLOCK, BLOCK, 3).mean(axis=(1, 3))
    return blocks.reshape(-1) @ weights(seed)


def read_raw(path, flip=False):
    pixels = np.array(Image.open(path).convert("RGB"))
    return raw(pixels[:, ::-1] if flip else pixels)


def unit(vector):
    return vector / math.sqrt(sum(x * x for x in vector))


def cosine(a, b):
    return float(unit(a) @ unit(b))


def best_threshold(pairs):
    """The smallest threshold with the most correct decisions on (score, same) pairs: every cut is tried."""
    scores = sorted({score for score, _ in pairs})
    cuts = [-math.inf, *((low + high) / 2 for low, high in zip(scores, scores[1:], strict=False)), math.inf]
    correct = [sum((score >= cut) == same for score, same in pairs) for cut in cuts]
    return cuts[correct.index(max(correct))]


def fold_accuracy(pairs):
    """Mean and standard deviation of the accuracy of (score, same, fold), the threshold from the other folds."""
    accuracies = []
    for fold in sorted({fold for _, _, fold in pairs}):
        cut = best_threshold([(score, same) for score, same, other in pairs if other != fold])
        own = [(score >= cut) == same for score, same, other in pairs if other == fold]
        accuracies.append(sum(own) / len(own))
    mean = sum(accuracies) / len(accuracies)
    return mean, math.sqrt(sum((each - mean) ** 2 for each in accuracies) / len(accuracies))


def rate_at(found, false, most):
    """Share of `found` at the smallest threshold that at most `most` of `false` reach; None below one of them."""
    if most * len(false) < 1 - 1e-9:
        return None
    for cut in [*sorted({*found, *false}), math.inf]:
        if sum(score >= cut for score in false) <= most * len(false) + 1e-9:
            return sum(score >= cut for score in found) / len(found)
    raise AssertionError


def is_rate(found, expected):
    """Whether a rate equals the oracle's; None stands for one that cannot be measured, in JSON too."""
    if expected is None or found is None:
        return expected is None and (found is None or math.isnan(found))
    return abs(found - expected) < 1e-9
