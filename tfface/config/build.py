"""Networks and heads by name, from settings or from a run folder."""

import contextlib
import inspect
import os
import pathlib
import re
from collections.abc import Iterable

import keras

from tfface import backbones, heads
from tfface.config import train_config
from tfface.distribute import collectives
from tfface.training import keras_files
from tfface.training.checkpoints.saving import restore_encoder
from tfface.training.face_model import FaceModel


def build_encoder(settings: train_config.TrainConfig, precision: str | None = None) -> keras.Model:
    """Builds the network that the settings name.

    Args:
      settings: `TrainConfig`.
      precision: Keras dtype policy of the network; None: that of the settings.

    Raises:
      ValueError: `settings.freeze` names no layer.
    """
    options = {"width": settings.width} if settings.backbone == "MobileFaceNet" else {}
    with _dtype_policy(precision or settings.precision):
        encoder = getattr(backbones, settings.backbone)(settings.embedding_dim, settings.image_size, **options)
    if settings.sync_batch_norm and collectives.replica_count() > 1:
        backbones.synchronize_batch_norm(encoder)
    freeze(encoder, settings.freeze)
    return encoder


def freeze(encoder: keras.Model, patterns: Iterable[str]) -> None:
    """Freezes layers, with their statistics of batch normalisation.

    Args:
      encoder: keras.Model.
      patterns: regular expressions of whole names of layers.

    Raises:
      ValueError: a pattern is malformed, or no layer has such a name.
    """
    for pattern in patterns:
        try:
            found = [layer for layer in encoder.layers if re.fullmatch(pattern, layer.name)]
        except re.error as error:
            raise ValueError(f"freeze: {pattern!r} is not a valid regular expression: {error}.") from None
        if not found:
            names = ", ".join(layer.name for layer in encoder.layers if layer.weights)
            raise ValueError(f"freeze: no layer is named {pattern!r}; those with weights are {names}.")
        for layer in found:
            layer.trainable = False


@contextlib.contextmanager
def _dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_head(settings: train_config.TrainConfig, num_classes: int) -> keras.layers.Layer:
    """Builds the head that the settings name; the head's defaults apply where they give no value.

    Raises:
      ValueError: a value is given that the head does not have.
    """
    make = getattr(heads, settings.head)
    names = ("scale", "margin", "sampling_rate")
    options = {name: value for name in names if (value := getattr(settings, name)) is not None}
    # Of the constructor, because Keras 3.8 shows (*args, **kwargs) for a class without one of its own.
    unknown = options.keys() - inspect.signature(make.__init__).parameters.keys()
    if unknown:
        raise ValueError(f"head {settings.head} has no {', '.join(sorted(unknown))}.")
    if settings.partition != "none":
        options["partition"] = settings.partition
    head = make(num_classes, **options)
    if settings.broadface_queue:
        return heads.BroadFace(head, settings.broadface_queue, settings.broadface_compensate)
    return head


def load_encoder(path: str | os.PathLike) -> keras.Model:
    """Loads an encoder from a run folder (its newest checkpoint) or a `.keras` file.

    A run that averages weights gives the averaged network. The network of a run computes in float32, whatever the
    precision of the training.

    Returns:
      keras.Model, images [N, height, width, 3] -> embeddings [N, D].

    Raises:
      ValueError: `path` is neither, or has no usable checkpoint.
    """
    path = pathlib.Path(path)
    if path.suffix == ".keras" and path.is_file():
        model = keras_files.load_model(path)
        return model.final_encoder if isinstance(model, FaceModel) else model
    if not (path / train_config.FLAGFILE).is_file():
        raise ValueError(f"{path}: neither a run folder (it has no {train_config.FLAGFILE}) nor a .keras file.")
    encoder = build_encoder(train_config.read_flagfile(path / train_config.FLAGFILE), precision="float32")
    restore_encoder(encoder, path / "checkpoints")
    return encoder
