"""D-Softmax-K: the inter-class objective on a few classes."""

import keras

from tfface.classifier.samplers.uniform import UniformSampler
from tfface.heads.dsoftmax import DSoftmax


@keras.saving.register_keras_serializable("tfface")
class DSoftmaxK(DSoftmax):
    """D-Softmax whose negatives are a random fraction of the classes, none of them present in the batch.

    Args:
      num_classes: int, identities K.
      scale, termination: of `DSoftmax`.
      sampling_rate: float in (0, 1], fraction of the classes.
      **kwargs: of `DSoftmax`, without `sampler`.

    Raises:
      ValueError: `sampling_rate` is out of range, or what `DSoftmax` refuses.

    Reference:
      He et al., "Softmax Dissection", 2020, Eq. 11.
    """

    def __init__(
        self, num_classes: int, scale: float = 64.0, termination: float = 0.9, sampling_rate: float = 1 / 64, **kwargs
    ):
        kwargs["sampler"] = UniformSampler(sampling_rate, batch_classes="excluded")
        super().__init__(num_classes, scale, termination, **kwargs)
        self.sampling_rate = float(sampling_rate)

    def get_config(self):
        return {**super().get_config(), "sampling_rate": self.sampling_rate}
