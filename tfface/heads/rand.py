"""Rand-Softmax and Rand-ArcFace: losses on a random fraction of the classes (Partial FC)."""

import keras

from tfface.heads.arcface import ArcFace
from tfface.heads.norm_softmax import NormSoftmax
from tfface.heads.own_sampler import OwnSampler


@keras.saving.register_keras_serializable("tfface")
class RandSoftmax(OwnSampler, NormSoftmax):
    """Normalised softmax on the classes of the batch and a random fraction of all.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      sampling_rate: float in (0, 1], fraction of the classes.
      **kwargs: of `ClassificationHead`, without `sampler`.

    Raises:
      ValueError: a `sampler` is given, or `sampling_rate` is out of range.

    Reference:
      He et al., "Softmax Dissection", 2020, Section 4.3; Zhang et al., "Accelerated Training for Massive Classification
      via Dynamic Class Selection", 2018.
    """

    without_sampler = "NormSoftmax"

    def __init__(self, num_classes: int, scale: float = 64.0, sampling_rate: float = 0.1, **kwargs):
        super().__init__(num_classes, scale, **self.with_sampler(kwargs, sampling_rate))
        self.sampling_rate = float(sampling_rate)


@keras.saving.register_keras_serializable("tfface")
class RandArcFace(OwnSampler, ArcFace):
    """ArcFace on the classes of the batch and a random fraction of all (Partial FC).

    Args:
      num_classes: int, identities K.
      scale: float, of `ArcFace`.
      margin: float, of `ArcFace`.
      sampling_rate: float in (0, 1], fraction of the classes.
      **kwargs: of `ArcFace`, without `sampler`.

    Raises:
      ValueError: a `sampler` is given, or `sampling_rate` is out of range, or what `ArcFace` refuses.

    Reference:
      An et al., "Partial FC: Training 10 Million Identities on a Single Machine", 2021.
    """

    without_sampler = "ArcFace"

    def __init__(
        self, num_classes: int, scale: float = 64.0, margin: float = 0.5, sampling_rate: float = 0.1, **kwargs
    ):
        super().__init__(num_classes, scale, margin, **self.with_sampler(kwargs, sampling_rate))
        self.sampling_rate = float(sampling_rate)
