"""Ring loss: embeddings share one learned norm."""

import math

import keras
import tensorflow as tf

from tfface.geometry import norms
from tfface.losses.base import EmbeddingLoss, as_matrix


@keras.saving.register_keras_serializable("tfface")
class RingLoss(EmbeddingLoss):
    """Half the squared difference between the norm of an embedding and a learned radius: ½(‖x_i‖ − R)².

    Args:
      initial_radius: float, R at the start; a good one is the mean norm of the untrained encoder's embeddings.
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: the radius is not positive.

    Reference:
      Zheng et al., "Ring loss: Convex Feature Normalization for Face Recognition", 2018, Eq. 2.
    """

    def __init__(self, initial_radius: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        if not 0 < initial_radius < math.inf:
            raise ValueError(f"initial_radius must be positive and finite, got {initial_radius!r}.")
        self.initial_radius = float(initial_radius)

    def build(self, embeddings_shape, labels_shape=None):
        self.radius = self.add_weight(
            name="radius",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_radius),
            dtype="float32",
            autocast=False,
        )

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d].
          labels: ignored; here for the signature of the other losses.

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank.
        """
        lengths = norms(as_matrix(embeddings, "embeddings"))[:, 0]
        return 0.5 * tf.square(lengths - tf.convert_to_tensor(self.radius))

    def get_config(self):
        return {**super().get_config(), "initial_radius": self.initial_radius}
