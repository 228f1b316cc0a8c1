"""Sizes of a model that its memory follows from, read off the model itself."""

import dataclasses
import math
import typing
from collections.abc import Iterable

import keras
import tensorflow as tf

from tfface.backbones.activations import activation_bytes
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.training.face_model import FaceModel


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes of a model, its optimizer and its feature maps; those of classes are per class.

    Attributes:
      trained: weights of the backbone that are trained, and those of the head that do not grow with the classes.
      others: weights that no optimizer moves: statistics, frozen layers, averaged weights, queues.
      per_class: class weights, and biases of classes.
      others_per_class: rows of classes that every replica keeps, such as the centres of `CenterLoss`.
      slots: arrays that the optimizer keeps for each trained weight.
      kept: feature maps per image that the backward pass needs.
      batch_norm: channels of all batch normalisations that are trained, a count.
      embedding: an embedding, of float32.
      sub_centers: rows of class weights per class.
      queue: past examples of each replica (`BroadFace`).
    """

    trained: int
    others: int
    per_class: int
    others_per_class: int
    slots: int
    kept: int
    batch_norm: int
    embedding: int
    sub_centers: int
    queue: int


def sizes_of(model: FaceModel) -> Sizes:
    """Reads the sizes of a model off its variables and the shapes of its layers.

    Args:
      model: compiled, with any number of classes; its optimizer is built.
    """
    encoder, head = model.encoder, model.head
    optimizer: typing.Any = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    classes, sub_centers = getattr(head, "num_classes", 0), getattr(head, "sub_centers", 1)
    rows = (classes, classes * sub_centers)

    def of_classes(variables):
        return [each for each in variables if classes and len(each.shape) and each.shape[0] in rows]

    trainable, fixed = list(head.trainable_variables), list(head.non_trainable_variables)
    others_of_classes = of_classes(fixed)
    # Each replica has its own queue, though they are one variable.
    queues = [each for each in fixed if isinstance(each, PartitionedVariable)]
    per_queue = sum(_bytes([each]) // len(each.ranges) for each in queues)
    average = [] if model.ema_encoder is None else model.ema_encoder.variables
    norms = [layer for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)]
    trained = _bytes(encoder.trainable_variables) + _bytes(trainable)
    apart = {id(each) for each in [*others_of_classes, *queues]}
    return Sizes(
        trained=trained - _bytes(of_classes(trainable)),
        others=_bytes([*encoder.non_trainable_variables, *average, *(each for each in fixed if id(each) not in apart)])
        + per_queue,
        per_class=_bytes(of_classes(trainable)) // max(1, classes),
        others_per_class=_bytes(others_of_classes) // max(1, classes),
        # Whatever an optimizer keeps beside them, such as its counter, is smaller than the smallest model.
        slots=_bytes(optimizer.variables) // max(1, trained),
        kept=activation_bytes(encoder),
        batch_norm=sum(layer.moving_mean.shape[0] for layer in norms if layer.trainable),
        embedding=4 * encoder.output_shape[-1],
        sub_centers=sub_centers,
        queue=_attribute(head, "queue_size", 0),
    )


def sampler_bytes(sampler, num_classes: int, dimension: int) -> int:
    """Returns the bytes of a sampler for some number of classes; nothing is made."""
    shapes = getattr(sampler, "shapes", None)
    return 0 if shapes is None else 4 * sum(math.prod(shape) for shape in shapes(num_classes, dimension))


def innermost(head: keras.layers.Layer) -> typing.Any:
    """Returns the head that wrappers are around."""
    while hasattr(head, "head"):
        head = head.head
    return head


def _attribute(head, name, default):
    """An attribute of the head or of one that it wraps."""
    while not hasattr(head, name) and hasattr(head, "head"):
        head = head.head
    return getattr(head, name, default)


def _bytes(variables: Iterable[keras.Variable]) -> int:
    return sum(math.prod(each.shape) * tf.as_dtype(each.dtype).size for each in variables)
