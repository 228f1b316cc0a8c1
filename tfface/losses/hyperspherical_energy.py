"""Minimum hyperspherical energy: class weights repel each other on the unit sphere."""

import keras
import tensorflow as tf

from tfface.checks import check_option
from tfface.geometry import unit
from tfface.losses.base import EmbeddingLoss, as_matrix, take_rows

# Squared distances below this are rounding errors of float32 cosines.
_MIN_SQUARED_DISTANCE = 1e-6


@keras.saving.register_keras_serializable("tfface")
class HypersphericalEnergy(EmbeddingLoss):
    """Mean energy of all pairs of unit class weights: −log d (s = 0) or d^−s, d = ‖Ŵ_i − Ŵ_j‖.

    Args:
      power: 0, 1 or 2, s.
      sampled_classes: int, at least 2: a fresh random subset of that many classes stands for all in each call, an
        unbiased estimate without the matrix [K, K]. None: all classes.
      seed: int, of the subsets; None: a random one.
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: an option is out of range.

    Reference:
      Liu et al., "Learning towards Minimum Hyperspherical Energy", 2018, Eq. 1.
    """

    takes = ("class_weights",)

    def __init__(self, power: float = 2, sampled_classes: int | None = None, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        check_option("power", power, (0, 1, 2))
        if sampled_classes is not None and (int(sampled_classes) != sampled_classes or sampled_classes < 2):
            raise ValueError(f"sampled_classes must be None or an integer of at least 2, got {sampled_classes!r}.")
        self.power = int(power)
        self.sampled_classes = None if sampled_classes is None else int(sampled_classes)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, class_weights: tf.Tensor) -> tf.Tensor:
        """Computes the energy.

        Args:
          class_weights: float [K, d], any norm, K at least 2: `head.class_weights`.

        Returns:
          float32 scalar.

        Raises:
          ValueError: wrong rank, or a single class.
        """
        class_weights = as_matrix(class_weights, "class_weights")
        num_classes = class_weights.shape[0]
        if num_classes < 2:
            raise ValueError(f"class_weights must hold at least 2 classes, got shape {class_weights.shape}.")
        if self.sampled_classes is not None and self.sampled_classes < num_classes:
            # The largest of random scores: unlike a shuffle, XLA can compile it.
            scores = keras.random.uniform([num_classes], seed=self.seed_generator)
            rows = tf.math.top_k(scores, self.sampled_classes).indices
            class_weights, num_classes = take_rows(class_weights, rows), self.sampled_classes
        x = unit(class_weights)
        energy = self._energy(tf.maximum(2.0 - 2.0 * tf.matmul(x, x, transpose_b=True), _MIN_SQUARED_DISTANCE))
        energy = tf.linalg.set_diag(energy, tf.zeros([num_classes]))
        return tf.reduce_sum(energy) / (num_classes * (num_classes - 1))

    def _energy(self, squared_distances):
        if self.power == 0:
            return -0.5 * tf.math.log(squared_distances)
        return squared_distances ** (-self.power / 2)

    def get_config(self):
        return {
            **super().get_config(),
            "power": self.power,
            "sampled_classes": self.sampled_classes,
            "seed": self.seed,
        }
