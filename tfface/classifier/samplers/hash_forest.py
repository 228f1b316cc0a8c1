"""Sampler of hard negatives: the classes near the embeddings of the batch, found with a forest of hyperplane trees."""

import keras
import numpy as np
import tensorflow as tf

from tfface.checks import check_option
from tfface.classifier.samplers.uniform import Sample, drawn_classes, with_batch
from tfface.geometry import unit_rows


@keras.saving.register_keras_serializable("tfface")
class HashForestSampler:
    """Draws the classes whose weights are near the embeddings of the batch and adds those of the batch.

    A tree halves the classes at the median of their projections until a leaf holds `leaf_size` at most; there is one
    direction for each tree and level. An embedding walks down each tree and votes for the classes of its leaf; a class
    that it finds in k trees gets k² of its votes. The classes with the most votes are drawn, ties at random; the
    remaining places go to classes without a vote, drawn uniformly. Before the first `rebuild` there are no votes: the
    draw is uniform. Shapes are static, as those of `UniformSampler`.

    `tfface.training.callbacks.RebuildForest` builds the forest from the class weights. Checkpoints of a run have it,
    Keras' files do not.

    Args:
      rate: float in (0, 1], share of the K classes that is drawn.
      trees: int, at least 1; more trees find more of the near classes.
      leaf_size: int, at least 2, classes of a leaf at most.
      batch_classes: "included" or "excluded", see `UniformSampler`.
      seed: int, of the directions; the same class weights give the same forest.

    Raises:
      ValueError: an option is out of range.

    Reference:
      Zhang et al., "Accelerated Training for Massive Classification via Dynamic Class Selection", AAAI 2018.
    """

    def __init__(
        self, rate: float, trees: int = 4, leaf_size: int = 32, batch_classes: str = "included", seed: int = 0
    ):
        if not 0 < rate <= 1:
            raise ValueError(f"sampling rate must be in (0, 1], got {rate!r}.")
        for name, value, smallest in (("trees", trees, 1), ("leaf_size", leaf_size, 2), ("seed", seed, 0)):
            if int(value) != value or value < smallest:
                raise ValueError(f"{name} must be an integer of at least {smallest}, got {value!r}.")
        check_option("batch_classes", batch_classes, ("included", "excluded"))
        self.rate, self.trees, self.leaf_size, self.seed = float(rate), int(trees), int(leaf_size), int(seed)
        self.batch_classes = batch_classes
        self._shape = None

    def build(self, num_classes, dimension):
        """Creates an empty forest once, in `rebuild` or the first call; in a `tf.function`, in its first trace.

        Raises:
          ValueError: the forest exists in another shape.
        """
        if self._shape not in (None, (num_classes, dimension)):
            raise ValueError(f"the forest is of class weights {self._shape}, got {(num_classes, dimension)}.")
        if self._shape is None:
            directions, thresholds, leaves = self.shapes(num_classes, dimension)
            self.levels = directions[1]
            # Outside the graph of the function being traced, so that the next one has it too.
            with tf.init_scope():
                self.directions = _variable("directions", directions, "float32", 0)
                self.thresholds = _variable("thresholds", thresholds, "float32", 0)
                self.leaves = _variable("leaves", leaves, "int32", -1)
            self._shape = (num_classes, dimension)

    def shapes(self, num_classes: int, dimension: int) -> tuple[list[int], list[int], list[int]]:
        """Returns the shapes of the directions, thresholds and leaves of a forest, whose numbers have four bytes."""
        # The smallest number of halvings after which no leaf is too large.
        levels = (-(-num_classes // self.leaf_size) - 1).bit_length()
        leaves = 2**levels
        capacity = -(-num_classes // leaves)
        return [self.trees, levels, dimension], [self.trees, leaves - 1], [self.trees, leaves, capacity]

    @property
    def variables(self) -> list[keras.Variable]:
        """The forest; empty before `build`."""
        return [] if self._shape is None else [self.directions, self.thresholds, self.leaves]

    @property
    def has_forest(self) -> bool:
        """Whether there is a forest, built or restored; the leaves of none are void."""
        return bool(self.variables) and bool(tf.reduce_all(self.leaves.value[:, :, 0] >= 0))

    def rebuild(self, class_weights: np.ndarray) -> None:
        """Rebuilds the forest, on the host; functions traced with the sampler use it without a new trace.

        Args:
          class_weights: float [K, d], any norm, array or tensor.

        Raises:
          ValueError: the shape is not [K, d], or differs from that of the first call.
        """
        class_weights = np.asarray(class_weights, np.float32)
        if class_weights.ndim != 2:
            raise ValueError(f"class_weights must have shape [K, d], got {class_weights.shape}.")
        self.build(*class_weights.shape)
        forest = build_forest(class_weights, self.trees, self.levels, self.seed)
        for variable, value in zip(self.variables, forest, strict=True):
            variable.assign(value)

    def __call__(self, labels: tf.Tensor, num_classes: int, seed: tf.Tensor, embeddings: tf.Tensor) -> Sample:
        """Chooses the classes of a batch.

        Args:
          labels: int [B]; those outside [0, K) belong to other shards and are ignored.
          num_classes: int K.
          seed: uint32 or int32 [2].
          embeddings: float32 [B, d], any norm.

        Returns:
          `Sample` with n = max(1, ⌊rate·K⌋) + B places.

        Raises:
          ValueError: K or d is not that of the forest.
        """
        self.build(num_classes, embeddings.shape[-1])
        near = tf.sort(self.near_classes(embeddings), axis=1)
        # How often each is in its row; summed over as many places, the square: the trees agree on what is nearest.
        first, last = (tf.searchsorted(near, near, side, tf.int64) for side in ("left", "right"))
        votes = tf.math.unsorted_segment_sum(tf.cast(last - first, tf.float32), near, num_classes)
        # Less than one vote: it breaks ties, also among classes without a vote.
        scores = votes + tf.random.stateless_uniform([num_classes], tf.cast(seed, tf.int32))
        ordered = tf.sort(tf.cast(labels, tf.int32))
        # Classes of the batch come last, because they have places of their own; at a rate near 1 they are drawn too.
        # Labels of other shards go to a place that is cut off again.
        places = tf.where((ordered >= 0) & (ordered < num_classes), ordered, num_classes)
        scores = tf.tensor_scatter_nd_update(
            tf.concat([scores, [0.0]], axis=0), places[:, None], -tf.ones_like(places, tf.float32)
        )
        scores, drawn = tf.math.top_k(scores[:num_classes], drawn_classes(self.rate, num_classes))
        in_batch = scores < 0
        return with_batch(drawn, in_batch, ordered, num_classes, self.batch_classes)

    def near_classes(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns the classes, int64 [B, trees · capacity], of the leaves that embeddings [B, d] reach, and -1."""
        projections = tf.einsum("tld,bd->tlb", self.directions.value, unit_rows(embeddings)[0])
        # TensorFlow computes with int32 on the host, so that a GPU would wait for it at every level.
        node = tf.zeros([self.trees, tf.shape(embeddings)[0]], tf.int64)
        for level in range(self.levels):
            threshold = tf.gather(self.thresholds.value, node + (2**level - 1), batch_dims=1)
            node = 2 * node + tf.cast(projections[:, level] > threshold, tf.int64)
        near = tf.cast(tf.gather(self.leaves.value, node, batch_dims=1), tf.int64)
        return tf.reshape(tf.transpose(near, [1, 0, 2]), [-1, self.trees * self.leaves.shape[2]])

    def get_config(self):
        return {name: getattr(self, name) for name in ("rate", "trees", "leaf_size", "batch_classes", "seed")}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _variable(name, shape, dtype, value):
    initializer = keras.initializers.Constant(value)
    return keras.Variable(initializer, shape, dtype, trainable=False, autocast=False, name=name)


def build_forest(class_weights: np.ndarray, trees: int, levels, seed: int | None):
    """Halves the classes [K, d] level by level, all nodes of a level at once.

    Returns:
      directions: float32 [trees, levels, d].
      thresholds: float32 [trees, 2^levels - 1], level after level; larger projections go right.
      leaves: int32 [trees, 2^levels, ⌈K / 2^levels⌉], classes, or -1 at the end of a leaf.
    """
    num_classes, leaf_count = len(class_weights), 2**levels
    norms = np.maximum(np.sqrt(np.einsum("kd,kd->k", class_weights, class_weights)), 1e-12)
    generator = np.random.default_rng(seed)
    # Differences of two classes vary where the classes do; most other directions do not separate classes.
    one = generator.integers(num_classes, size=(trees, levels))
    other = (one + generator.integers(1, num_classes, size=(trees, levels))) % num_classes
    directions = class_weights[one] / norms[one, None] - class_weights[other] / norms[other, None]
    thresholds = np.empty([trees, leaf_count - 1], np.float32)
    leaves = np.empty([trees, leaf_count, -(-num_classes // leaf_count)], np.int32)
    for tree in range(trees):
        order = np.arange(num_classes, dtype=np.int32)
        for level in range(levels):
            projections = class_weights @ directions[tree, level] / norms
            nodes = table(order, 2**level)
            values = np.where(nodes < 0, np.inf, projections[nodes])  # the void place comes last in its node
            middle = bounds(num_classes, 2 ** (level + 1))[1::2] - bounds(num_classes, 2**level)[:-1]
            rank = np.argpartition(values, np.unique([middle - 1, middle]), axis=1)
            nodes = np.take_along_axis(nodes, rank, axis=1)
            pair = np.take_along_axis(nodes, np.stack([middle - 1, middle], axis=1), axis=1)
            thresholds[tree, 2**level - 1 : 2 ** (level + 1) - 1] = projections[pair].mean(axis=1)
            order = nodes[nodes >= 0]
        leaves[tree] = table(order, leaf_count)
    return directions, thresholds, leaves


def bounds(num_classes: int, nodes):
    """Edges [nodes + 1] of nodes of equal size, within one; they are among the edges of twice as many nodes."""
    return np.arange(nodes + 1) * num_classes // nodes


def table(order, nodes):
    """Cuts classes [K] into nodes [nodes, ⌈K / nodes⌉], with -1 at the end of the smaller ones."""
    edges = bounds(len(order), nodes)
    places = edges[:-1, None] + np.arange(-(-len(order) // nodes))
    return np.where(places < edges[1:, None], order[np.minimum(places, len(order) - 1)], -1)
