"""Weights of a network by kind, for what an optimizer treats apart."""

from collections.abc import Iterable

import keras
from keras import layers

from tfface.checks import check_option

EXCLUDABLE = ("bias", "norm", "prelu")


def weights_of_kinds(encoder: keras.Model, kinds: Iterable[str]) -> list[keras.Variable]:
    """Returns the trainable weights of some kinds in a network.

    Args:
      encoder: keras.Model.
      kinds: of `EXCLUDABLE`: "bias" of convolutions and fully connected layers, "norm", the scales and offsets of
        normalisations, and "prelu", the slopes of PReLU.

    Raises:
      ValueError: a kind is unknown.
    """
    for kind in kinds:
        check_option("exclude_from_decay", kind, EXCLUDABLE)
    found: list[keras.Variable] = []
    for layer in encoder.layers:
        if isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)):
            found += layer.trainable_weights if "norm" in kinds else []
        elif isinstance(layer, layers.PReLU):
            found += layer.trainable_weights if "prelu" in kinds else []
        elif "bias" in kinds and getattr(layer, "use_bias", False):
            found.append(layer.bias)
    return found
