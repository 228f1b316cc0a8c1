"""The tensors of a backbone as PyTorch names them and lays them out.

PyTorch's convolutions are [out, in, height, width] where Keras' are [height, width, in, out], and what it flattens
before a fully connected layer runs over channels first.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from tfface.backbones.vit import PositionEmbedding


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One weight: its key in a state dict, its variable, and the way from PyTorch's array to Keras' and back."""

    key: str
    variable: keras.Variable
    to_keras: Callable
    to_torch: Callable

    @property
    def shape(self):
        """Shape in PyTorch."""
        return self.to_torch(np.broadcast_to(np.float32(0), self.variable.shape)).shape


def tensors(model: keras.Model):
    """Yields a `Tensor` for every weight of a backbone whose layers bear the names of PyTorch's modules."""
    flattened = model.get_layer("flatten").input.shape[1:]
    for layer in model.layers:
        if isinstance(layer, PositionEmbedding):
            yield Tensor(layer.name, layer.embedding, *_same())
        elif isinstance(layer, layers.Conv2D):
            yield from _with_bias(layer, layer.kernel, _convolution())
        elif isinstance(layer, layers.DepthwiseConv2D):
            yield from _with_bias(layer, layer.kernel, _grouped_convolution(*layer.kernel.shape))
        elif isinstance(layer, layers.Dense):
            rows, units = layer.kernel.shape
            is_map = len(flattened) == 3 and rows == np.prod(flattened)
            height, width, channels = flattened if is_map else (1, 1, rows)
            yield from _with_bias(layer, layer.kernel, _dense(height, width, channels, units))
        elif isinstance(layer, layers.PReLU):
            yield Tensor(f"{layer.name}.weight", layer.alpha, *_vector(layer.alpha.shape))
        elif isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)):
            if layer.scale:
                yield Tensor(f"{layer.name}.weight", layer.gamma, *_same())
            yield Tensor(f"{layer.name}.bias", layer.beta, *_same())
            if isinstance(layer, layers.BatchNormalization):
                yield Tensor(f"{layer.name}.running_mean", layer.moving_mean, *_same())
                yield Tensor(f"{layer.name}.running_var", layer.moving_variance, *_same())


def scaleless(model: keras.Model):
    """Returns the batch normalisations without a scale, which PyTorch has with a scale of 1."""
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization) and not layer.scale]


def _with_bias(layer, kernel, ways):
    yield Tensor(f"{layer.name}.weight", kernel, *ways)
    if layer.use_bias:
        yield Tensor(f"{layer.name}.bias", layer.bias, *_same())


# Each returns the two ways: from PyTorch to Keras, and back.


def _same():
    return np.asarray, np.asarray


def _vector(shape):
    return lambda x: x.reshape(shape), np.ravel


def _convolution():
    return lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)


def _grouped_convolution(height, width, channels, size):
    """Groups of `size` channels: see `tfface.backbones.layers.depthwise_conv`."""
    groups = channels // size
    return (
        lambda x: (
            x.reshape(groups, size, size, height, width).transpose(3, 4, 0, 2, 1).reshape(height, width, channels, size)
        ),
        lambda x: (
            x.reshape(height, width, groups, size, size).transpose(2, 4, 3, 0, 1).reshape(channels, size, height, width)
        ),
    )


def _dense(height, width, channels, units):
    return (
        lambda x: x.reshape(units, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, units),
        lambda x: x.reshape(height, width, channels, units).transpose(3, 2, 0, 1).reshape(units, -1),
    )
