"""Minimum hyperspherical energy: class weights repel each other on the unit sphere."""

import keras
import tensorflow as tf

from tfface.checks import check_option
from tfface.distribute.class_rows import ClassRows
from tfface.geometry import unit
from tfface.losses.base import EmbeddingLoss, as_class_rows

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

    def call(self, class_weights: tf.Tensor | ClassRows) -> tf.Tensor:
        """Computes the energy.

        Args:
          class_weights: float [K, d], any norm, K at least 2: `head.class_weights`; or `head.class_rows`.

        Returns:
          float32 scalar.

        Raises:
          ValueError: wrong rank, or a single class.
        """
        rows = as_class_rows(class_weights)
        num_classes, count = rows.num_classes, min(self.sampled_classes or rows.num_classes, rows.num_classes)
        classes = tf.range(num_classes)
        if count < num_classes:
            # The largest of random scores: unlike a shuffle, XLA can compile it.
            scores = keras.random.uniform([num_classes], seed=self.seed_generator)
            classes = tf.math.top_k(scores, count).indices
        x = unit(rows.of_classes(classes) if count < num_classes else rows.everywhere())[:, 0]
        own, own_classes = x, classes
        if rows.partial:
            # Each replica has the pairs whose first class is its own.
            here = rows.here(classes)
            own, own_classes = tf.boolean_mask(x, here), tf.boolean_mask(classes, here)
        energy = self._energy(tf.maximum(2.0 - 2.0 * tf.matmul(own, x, transpose_b=True), _MIN_SQUARED_DISTANCE))
        energy = tf.where(own_classes[:, None] == classes, 0.0, energy)
        return rows.sum_over_shards(tf.reduce_sum(energy)) / (count * (count - 1))

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
