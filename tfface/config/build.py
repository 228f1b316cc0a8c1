"""Networks, heads and optimizers, from settings or from a run folder."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import typing
from collections.abc import Iterable

import keras

from tfface import backbones, heads
from tfface.config import components, train_config, train_flags
from tfface.distribute import collectives
from tfface.export.embedding.embedder import encoder_image_size
from tfface.export.formats import FILES
from tfface.export.formats.loading import is_export
from tfface.optimizers import schedules
from tfface.optimizers.kinds import weights_of_kinds
from tfface.training import keras_files
from tfface.training.checkpoints.saving import restore_encoder, restore_head
from tfface.training.checkpoints.warm_start import read_identities
from tfface.training.face_model import FaceModel


def build_encoder(settings: train_config.TrainConfig, precision: str | None = None) -> keras.Model:
    """Builds the network that the settings name.

    Args:
      settings: `TrainConfig`.
      precision: Keras dtype policy of the network; None: that of the settings.

    Raises:
      ValueError: `settings.freeze` names no layer.
    """
    given = {"embedding_dim": settings.embedding_dim, "image_size": settings.image_size}
    with _dtype_policy(precision or settings.precision):
        encoder = components.build("backbone", settings.backbone, given)
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
    """Builds the head that the settings name, with the losses beside it.

    Raises:
      ValueError: a component refuses an argument, or the components do not work together.
    """
    given = {
        "num_classes": num_classes,
        "partition": None if settings.partition == "none" else settings.partition,
        "sampler": components.build("sampler", settings.sampler) if settings.sampler else None,
    }
    terms = [components.build("loss", loss, {"num_classes": num_classes}) for loss in settings.loss]
    if settings.head == train_config.NO_HEAD:
        if settings.sampler or given["partition"]:
            raise ValueError("without a head there are no class weights to sample or to partition.")
        return heads.LossesAlone(terms)
    head = components.build("head", settings.head, given)
    return heads.HeadWithLosses(head, terms) if terms else head


def build_optimizer(
    settings: train_config.TrainConfig,
    learning_rate: keras.optimizers.schedules.LearningRateSchedule,
    encoder: keras.Model,
) -> keras.optimizers.Optimizer:
    """Builds the optimizer that the settings name; some weights of the encoder may be exempt from weight decay.

    Raises:
      ValueError: the optimizer refuses an argument, or `settings.exclude_from_decay` has an unknown kind.
    """
    given = {
        "learning_rate": learning_rate,
        "weight_decay": settings.weight_decay or None,
        "global_clipnorm": settings.clip_norm,
    }
    optimizer = components.build("optimizer", settings.optimizer, given)
    if excluded := weights_of_kinds(encoder, settings.exclude_from_decay):
        optimizer.exclude_from_weight_decay(excluded)
    return optimizer


def build_schedule(
    settings: train_config.TrainConfig, steps_per_epoch: int, total_steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Builds the learning-rate schedule of a run.

    Raises:
      ValueError: its steps do not fit those of the run.
    """
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = round(settings.warmup_epochs * steps_per_epoch)
    schedule = components.build("schedule", settings.schedule)
    return schedules.learning_rate(schedule, settings.learning_rate, total_steps, warmup, steps_per_epoch)


def completed(settings: train_config.TrainConfig) -> train_config.TrainConfig:
    """Returns the settings with every argument of every component, defaults included, so that runs can be compared.

    Raises:
      ValueError: a component has an unknown argument or lacks one.
    """
    changes: dict[str, typing.Any] = {}
    for field in dataclasses.fields(settings):
        kind, value = field.metadata["component"], getattr(settings, field.name)
        if kind and value and value != train_config.NO_HEAD:
            complete = functools.partial(components.complete, kind)
            changes[field.name] = [complete(each) for each in value] if isinstance(value, list) else complete(value)
    if settings.batches:
        changes["batch_size"] = _size_of(settings)
    return dataclasses.replace(settings, **changes)


def _size_of(settings):
    size = components.build("batches", settings.batches).size
    if settings.batch_size not in (size, train_config.TrainConfig.batch_size):
        raise ValueError(
            f"batch_size must be {size} with {settings.batches}, or be left out; got {settings.batch_size}."
        )
    return size


def _hint(path):
    """Says what a path that is not a trained model may be instead."""
    if is_export(path):
        return " It is an export, which tfface embed and tfface evaluate take; only a trained model can be exported."
    if path.is_dir() and not any(path.iterdir()):
        return " The folder is empty."
    files = " or ".join(FILES)
    return f" An export is a folder with saved_model.pb, or a file named {files}." if path.is_dir() else ""


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
    if not path.exists():
        raise ValueError(f"{path} does not exist.")
    if path.suffix == ".keras" and path.is_file():
        model = keras_files.load_model(path)
        encoder = model.final_encoder if isinstance(model, FaceModel) else model
        try:
            encoder_image_size(encoder)
        except ValueError as error:
            raise ValueError(f"{path} holds another network: {error}") from None
        return encoder
    if not (path / train_flags.FLAGFILE).is_file():
        raise ValueError(
            f"{path}: neither a run folder (it has no {train_flags.FLAGFILE}) nor a .keras file.{_hint(path)}"
        )
    encoder = build_encoder(train_flags.read_flagfile(path / train_flags.FLAGFILE), precision="float32")
    restore_encoder(encoder, path / "checkpoints")
    return encoder


def load_head(run_dir: str | os.PathLike) -> keras.layers.Layer:
    """Loads the head of a run from its newest checkpoint, with all of its classes on one device.

    Raises:
      ValueError: the folder is not a run, or has no usable checkpoint.
      OSError: its settings cannot be read.
    """
    run_dir = pathlib.Path(run_dir)
    settings = dataclasses.replace(train_flags.read_flagfile(run_dir / train_flags.FLAGFILE), partition="none")
    head = build_head(settings, len(read_identities(run_dir)))
    head.build((None, settings.embedding_dim))
    restore_head(head, run_dir / "checkpoints")
    return head
