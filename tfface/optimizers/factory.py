"""Optimizers from settings."""

from collections.abc import Iterable

import keras
from keras import layers

from tfface.checks import check_option
from tfface.optimizers.lamb import LAMB
from tfface.optimizers.row_sgd import RowSGD

EXCLUDABLE = ("bias", "norm", "prelu")


def make_optimizer(
    settings, schedule: keras.optimizers.schedules.LearningRateSchedule, encoder: keras.Model
) -> keras.optimizers.Optimizer:
    """Makes the optimizer that the settings name.

    Args:
      settings: `TrainConfig`.
      schedule: Keras learning-rate schedule.
      encoder: keras.Model; some of its weights may be exempt from weight decay.

    Returns:
      keras.optimizers.Optimizer.

    Raises:
      ValueError: `settings.exclude_from_decay` names a kind that is not in `EXCLUDABLE`.
    """
    options = {"weight_decay": settings.weight_decay or None, "global_clipnorm": settings.clip_norm}
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(schedule, **options | {"weight_decay": settings.weight_decay})
    elif settings.optimizer == "lamb":
        optimizer = LAMB(schedule, epsilon=1e-6, **options)
    else:
        optimizer = RowSGD(schedule, settings.momentum, decay_form=settings.decay_form, **options)
    excluded = weights_of_kinds(encoder, settings.exclude_from_decay)
    if excluded:
        optimizer.exclude_from_weight_decay(excluded)
    return optimizer


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
