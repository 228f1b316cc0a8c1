"""Parameters and multiply-accumulates of networks."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import layers

from tfface import backbones
from tfface.backbones.vit import SelfAttention

# Rows of the table in the documentation, at 512 dimensions: name -> image size.
TABLE: dict[str, int | tuple[int, int]] = {
    "SFNet20": (112, 96),
    "SFNet64": (112, 96),
    "IResNet18": 112,
    "IResNet34": 112,
    "IResNet50": 112,
    "IResNet100": 112,
    "IResNet200": 112,
    "MobileFaceNet": 112,
    "InsightFaceMobileFaceNet": 112,
    "ResNet50": 224,
    "ViTTiny": 112,
    "ViTSmall": 112,
}


def count_parameters(model: keras.Model) -> int:
    """Returns the number of trainable weights; moving statistics are not among them."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def count_multiply_accumulates(model: keras.Model) -> int:
    """Returns the multiply-accumulates of one image: twice as many floating-point operations.

    Counted as published figures mostly are: convolutions, fully connected layers and attention, two operations per
    value of batch normalisation, one per value of PReLU and ReLU; sums and pooling are not counted.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            total += np.prod(layer.output.shape[1:3]) * np.prod(layer.kernel.shape)
        elif isinstance(layer, layers.Dense):
            total += np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape)
        elif isinstance(layer, SelfAttention):
            tokens, width = layer.output.shape[1:]
            total += 2 * tokens**2 * width
        elif isinstance(layer, layers.BatchNormalization):
            total += 2 * np.prod(layer.output.shape[1:])
        elif isinstance(layer, (layers.PReLU, layers.ReLU)):
            total += np.prod(layer.output.shape[1:])
    return int(total)


def table(names: Iterable[str] = tuple(TABLE)) -> str:
    """Returns a Markdown table of the backbones' sizes.

    Args:
      names: of the rows, keys of `TABLE`.
    """
    rows = ["| backbone | image | parameters, millions | multiply-accumulates, billions |", "|---|---|---|---|"]
    for name in names:
        image_size = TABLE[name]
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        model = getattr(backbones, name)(512, image_size)
        parameters, operations = count_parameters(model) / 1e6, count_multiply_accumulates(model) / 1e9
        rows.append(f"| `{name}` | {height} × {width} | {parameters:.2f} | {operations:.2f} |")
    return "\n".join(rows)
