"""Augmentations written as strings: `crop` is `Crop()`, and `low_resolution:0.3` is `LowResolution(0.3)`."""

import math
import re
from collections.abc import Iterable

from tfface.data.images import augment
from tfface.data.images.augment.base import Augmentation


def as_augmentations(values: Iterable[str | Augmentation]) -> list[Augmentation]:
    """Returns augmentations; strings `NAME` and `NAME:PROBABILITY` become objects.

    Args:
      values: `Augmentation`s and strings; a NAME is that of a class in lower case, with `_` between words.

    Returns:
      List of `Augmentation`.

    Raises:
      ValueError: if a name is unknown, a probability is not in [0, 1], or a value is neither.
    """
    return [value if isinstance(value, Augmentation) else _parsed(value) for value in values]


def _parsed(text):
    classes = {re.sub("(?<!^)(?=[A-Z])", "_", name).lower(): name for name in augment.AUGMENTATIONS}
    name, colon, number = str(text).partition(":")
    if name not in classes:
        raise ValueError(f"augmentation must be one of {', '.join(classes)}, or an object, got {text!r}.")
    make = getattr(augment, classes[name])
    try:
        probability = float(number) if colon else make.probability
    except ValueError:
        probability = math.nan
    if not 0 <= probability <= 1:
        raise ValueError(f"the probability of an augmentation must be in [0, 1], got {text!r}.")
    return make(probability)
