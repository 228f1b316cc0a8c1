"""Memory that a training step of a network takes for its feature maps, from the shapes of its layers."""

import math

import keras
from keras import layers

from tfface.backbones.prelu import FusedPReLU, is_large
from tfface.backbones.vit import PositionEmbedding, SelfAttention

# Their outputs are views of their inputs.
_VIEWS = (layers.Flatten, layers.Reshape)
# Their gradient needs what they were given, what they returned, or neither; that of other layers is taken to need both.
_NEED_INPUT = (
    layers.BatchNormalization,
    layers.Conv2D,
    layers.Dense,
    layers.DepthwiseConv2D,
    layers.LayerNormalization,
    SelfAttention,
)
_NEED_OUTPUT = (layers.Activation, layers.ReLU)
_NEED_NEITHER = (layers.Add, layers.Dropout, layers.PReLU, layers.ZeroPadding2D, PositionEmbedding)


def activation_bytes(network: keras.Model) -> int:
    """Computes the memory, per image, of the feature maps that the backward pass of a network needs.

    All of them exist when the forward pass ends. The backward pass starts with the last layers, which have the smallest
    maps and the most weights, so that its own feature maps take the place of those that it has done with.

    Args:
      network: functional keras.Model, each of whose layers is used once; the dtype of its feature maps counts.

    Returns:
      int, bytes.
    """
    source: dict[int, int] = {}  # Views count as the tensor that they show.
    kept: dict[int, int] = {}
    extra = 0
    for operation in network.operations:
        if isinstance(operation, layers.InputLayer):
            continue
        inputs, outputs = keras.tree.flatten(operation.input), keras.tree.flatten(operation.output)
        if isinstance(operation, _VIEWS):
            source[id(outputs[0])] = source.get(id(inputs[0]), id(inputs[0]))
            continue
        for tensor in _needed(operation, inputs, outputs):
            kept[source.get(id(tensor), id(tensor))] = _bytes(tensor)
        extra += _inside(operation, inputs)
    return sum(kept.values()) + extra


def _needed(operation, inputs, outputs):
    if isinstance(operation, _NEED_INPUT) or _is_fused(operation, inputs):
        return inputs
    if isinstance(operation, _NEED_OUTPUT):
        return outputs
    # A sum over an axis is the one operation of the backbones that is not a layer.
    if isinstance(operation, _NEED_NEITHER) or not isinstance(operation, keras.layers.Layer):
        return []
    return [*inputs, *outputs]


def _inside(operation, inputs):
    """Bytes of the tensors inside of a layer that its gradient needs."""
    size = sum(map(_bytes, inputs))
    if isinstance(operation, layers.PReLU):
        return 0 if _is_fused(operation, inputs) else 2 * size  # The positive and the negative part.
    if isinstance(operation, layers.Dropout):
        return 0 if operation.noise_shape else size
    if isinstance(operation, SelfAttention):
        tokens = inputs[0].shape[1]
        # Queries, keys and values apart from each other, the attention of tokens to each other in float32, and both
        # before and after the softmax.
        return size + 2 * 4 * operation.num_heads * tokens**2
    return 0


def _is_fused(operation, inputs):
    return isinstance(operation, FusedPReLU) and is_large(inputs[0].shape)


def _bytes(tensor):
    return math.prod(tensor.shape[1:]) * (2 if tensor.dtype in ("bfloat16", "float16") else 4)
