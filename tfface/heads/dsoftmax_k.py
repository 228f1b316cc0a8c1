"""D-Softmax-K: the inter-class objective on a few classes."""

import keras

from tfface.heads.dsoftmax import DSoftmax
from tfface.heads.own_sampler import OwnSampler


@keras.saving.register_keras_serializable("tfface")
class DSoftmaxK(OwnSampler, DSoftmax):
    """D-Softmax whose negatives are a random fraction of the classes, none of them present in the batch.

    Args:
      num_classes: int, identities K.
      scale: float, of `DSoftmax`.
      termination: float, of `DSoftmax`.
      sampling_rate: float in (0, 1], fraction of the classes.
      **kwargs: of `DSoftmax`, without `sampler`.

    Raises:
      ValueError: a `sampler` is given, `sampling_rate` is out of range, or what `DSoftmax` refuses.

    Reference:
      He et al., "Softmax Dissection", 2020, Eq. 11.
    """

    batch_classes = "excluded"
    without_sampler = "DSoftmax"

    def __init__(
        self, num_classes: int, scale: float = 64.0, termination: float = 0.9, sampling_rate: float = 1 / 64, **kwargs
    ):
        super().__init__(num_classes, scale, termination, **self.with_sampler(kwargs, sampling_rate))
        self.sampling_rate = float(sampling_rate)
