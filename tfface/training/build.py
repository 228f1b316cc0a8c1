"""Networks and heads by name, from settings or from a run folder."""

import inspect
import pathlib

import keras

from tfface import backbones, heads
from tfface.classifier import collectives
from tfface.training import config
from tfface.training.checkpoints import restore_encoder
from tfface.training.model import FaceModel


def build_encoder(settings):
    """Builds the network that the settings name."""
    options = {"width": settings.width} if settings.backbone == "MobileFaceNet" else {}
    encoder = getattr(backbones, settings.backbone)(settings.embedding_dim, settings.image_size, **options)
    if settings.sync_batch_norm and collectives.replica_count() > 1:
        backbones.synchronize_batch_norm(encoder)
    return encoder


def build_head(settings, num_classes):
    """Builds the head that the settings name, with its own defaults where they name no value.

    Raises:
      ValueError: a value is given that the head does not have.
    """
    make = getattr(heads, settings.head)
    names = ("scale", "margin", "sampling_rate")
    options = {name: value for name in names if (value := getattr(settings, name)) is not None}
    unknown = options.keys() - inspect.signature(make).parameters.keys()
    if unknown:
        raise ValueError(f"head {settings.head} has no {', '.join(sorted(unknown))}.")
    if settings.partition != "none":
        options["partition"] = settings.partition
    head = make(num_classes, **options)
    if settings.broadface_queue:
        return heads.BroadFace(head, settings.broadface_queue, settings.broadface_compensate)
    return head


def load_encoder(path):
    """Loads an encoder from a run folder (its newest checkpoint) or a `.keras` file.

    Returns:
      keras.Model, images [N, height, width, 3] -> embeddings [N, D].

    Raises:
      ValueError: `path` is neither, or has no usable checkpoint.
    """
    path = pathlib.Path(path)
    if path.suffix == ".keras" and path.is_file():
        model = keras.models.load_model(path, compile=False)
        return model.encoder if isinstance(model, FaceModel) else model
    if not (path / config.FLAGFILE).is_file():
        raise ValueError(f"{path}: neither a run folder (it has no {config.FLAGFILE}) nor a .keras file.")
    encoder = build_encoder(config.read_flagfile(path / config.FLAGFILE))
    restore_encoder(encoder, path / "checkpoints")
    return encoder
