"""CoCo: congenerous cosine loss."""

import math

import keras

from tfface.heads.norm_softmax import NormSoftmax


@keras.saving.register_keras_serializable("tfface")
class CoCo(NormSoftmax):
    """Congenerous cosine loss: normalised softmax whose scale follows from the number of classes.

    Args:
      num_classes: int, identities K.
      scale: float, s; None: log(K − 1)/2 + 3, with which the loss of perfect features is log(1 + e⁻⁶) for every K.
      **kwargs: of `ClassificationHead`.

    Reference:
      Liu et al., "Rethinking Feature Discrimination and Polymerization for Large-scale Recognition", 2017.
    """

    def __init__(self, num_classes: int, scale: float | None = None, **kwargs):
        if scale is None:
            scale = math.log(max(num_classes, 2) - 1) / 2 + 3
        super().__init__(num_classes, scale, **kwargs)
