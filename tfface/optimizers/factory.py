"""Optimizers from settings."""

import keras
from keras import layers

from tfface.checks import check_option
from tfface.optimizers.lamb import LAMB
from tfface.optimizers.row_sgd import RowSGD

EXCLUDABLE = ("bias", "norm", "prelu")


def make_optimizer(settings, schedule, encoder):
    """Makes the optimizer that the settings name.

    Args:
      settings: `TrainConfig`.
      schedule: Keras learning-rate schedule.
      encoder: keras.Model, of whose weights some may be exempt from weight decay.

    Returns:
      keras.optimizers.Optimizer.

    Raises:
      ValueError: `settings.exclude_from_decay` names something else than `EXCLUDABLE`.
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


def weights_of_kinds(encoder, kinds):
    """Returns the trainable weights of a network that are of one of the kinds.

    Args:
      encoder: keras.Model.
      kinds: of `EXCLUDABLE`: "bias" of convolutions and fully connected layers, "norm", the scales and offsets of
        normalisations, and "prelu", the slopes of PReLU.

    Raises:
      ValueError: there is no such kind.
    """
    for kind in kinds:
        check_option("exclude_from_decay", kind, EXCLUDABLE)
    found = []
    for layer in encoder.layers:
        if isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)):
            found += layer.trainable_weights if "norm" in kinds else []
        elif isinstance(layer, layers.PReLU):
            found += layer.trainable_weights if "prelu" in kinds else []
        elif "bias" in kinds and getattr(layer, "use_bias", False):
            found.append(layer.bias)
    return found
