"""Base class of the classification heads."""

import inspect
import typing

import keras
import numpy as np
import tensorflow as tf

from tfface.checks import check_option
from tfface.classifier.engine import Engine
from tfface.classifier.labels import check_labels
from tfface.distribute import collectives
from tfface.distribute.class_rows import ClassRows
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.geometry import inverse_norms, unit_rows
from tfface.heads.logits import HeadLogits

# Arguments of every Keras layer.
_OF_LAYERS = {"name", "dtype", "trainable", "autocast", "activity_regularizer"}


class ClassificationHead(keras.layers.Layer):
    """Class weights and a loss on cosines; a subclass defines the two functions `negative` and `loss`.

    `head(embeddings, labels)` returns the per-example losses [B], float32 whatever the dtype policy of the network.

    Args:
      num_classes: int, identities K, at least 2.
      class_weights_initializer: Keras initializer of the class weights [K, d]; None: normal with deviation 0.01.
      chunk_size: int, classes at a time, so that the matrix [B, K] never exists. None: all at once.
      sampler: sampler of `tfface.classifier.samplers`, which chooses the classes of a training step; None: all classes.
      jit_compile: bool, XLA for the loss; None: with many classes, where XLA is available.
      partition: where the rows of classes are. None: all of them on every replica. "replicas": each replica of the
        `tf.distribute` strategy has its share of the classes. "host": the same in host memory; each step copies the
        sampled rows.
      **kwargs: of `keras.layers.Layer`. `dtype="mixed_bfloat16"` rounds operands of matrix products to bfloat16. The
        default is float32 whatever the global policy, because a scale of 64 magnifies the rounding of cosines.

    Raises:
      ValueError: the head has no argument of a name, `num_classes` is smaller than 2 or `chunk_size` than 1,
        `partition` is unknown or "host" without a sampler. When built: there are fewer classes than replicas to divide
        them among.
    """

    # Options of `Engine`.
    reduction = "logsumexp"
    normalize = True
    sub_centers = 1
    # The smallest label: -1 where a head takes faces of no class.
    lowest_label = 0
    # Whether a step needs the examples of a whole batch at once, so that micro-batches would change its meaning.
    whole_batch = False
    # Whether the loss of an example depends on the other examples of its batch.
    compares_examples = False
    # Arguments of other heads by name, and what stands for them here.
    instead: dict[str, str] = {}

    def __init__(
        self,
        num_classes: int,
        class_weights_initializer=None,
        chunk_size: int | None = None,
        sampler=None,
        jit_compile: bool | None = None,
        partition: str | None = None,
        **kwargs,
    ):
        check_arguments(type(self), kwargs)
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        if int(num_classes) != num_classes or num_classes < 2:
            raise ValueError(f"num_classes must be an integer of at least 2, got {num_classes!r}.")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size!r}.")
        check_option("partition", partition, (None, "replicas", "host"))
        if partition == "host" and sampler is None:
            raise ValueError(
                "partition='host' needs a sampler, or each step would copy all class weights; got sampler=None."
            )
        self.num_classes = int(num_classes)
        if class_weights_initializer is None:
            class_weights_initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.class_weights_initializer = keras.initializers.get(class_weights_initializer)
        self.chunk_size = chunk_size
        self.sampler = sampler
        self.jit_compile = jit_compile
        self.partition = partition
        self.samplers: list[tuple] = []
        self.seed_generator: typing.Any = keras.random.SeedGenerator() if sampler is not None else None
        # Keras asks before it compiles a whole model: neither chunks nor samplers work inside XLA.
        self.supports_jit = chunk_size is None and sampler is None

    def context(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        """Returns what `negative` and `loss` need besides the cosines: dict from name to float32 [B]."""
        return {}

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        """u: the cost of a negative (or its exponent), elementwise on cosines [B, n]; context tensors are [B, 1]."""
        raise NotImplementedError

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        """F: losses [B] from target cosines t [B] and a [B], the log-sum (or sum) of the negatives; context is [B]."""
        raise NotImplementedError

    def target_logit(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the logits [B] of the target classes from target cosines [B]."""
        raise NotImplementedError

    def negative_logit(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the logits [B, K] of the negatives from cosines."""
        return self.negative(cosines, context)

    def plain_logit(self, cosines: tf.Tensor) -> tf.Tensor:
        """Returns the logits [B, K] without a margin from cosines."""
        raise NotImplementedError

    def build(self, embeddings_shape, labels_shape=None):
        shape = (self.num_classes * self.sub_centers, embeddings_shape[-1])
        self.class_weights = self.add_class_rows("class_weights", shape, self.class_weights_initializer)
        self.class_rows = ClassRows(self.class_weights, self.num_classes)
        self.class_bias = None
        if hasattr(self.sampler, "build"):
            self._build_samplers(embeddings_shape[-1])
        self._engine = Engine(
            self.negative,
            self.loss,
            reduction=self.reduction,
            normalize=self.normalize,
            sub_centers=self.sub_centers,
            chunk_size=self.chunk_size,
            compute_dtype=self.compute_dtype,
            jit_compile=self.jit_compile,
        )

    def _build_samplers(self, dimension):
        """Builds the sampler or, for a partitioned head, one for each shard: pairs ((start, stop), sampler)."""
        ranges = self.class_rows.ranges
        self.samplers = [(each, type(self.sampler).from_config(self.sampler.get_config())) for each in ranges]
        if len(ranges) == 1:
            self.samplers = [(ranges[0], self.sampler)]
        for (start, stop), sampler in self.samplers:
            sampler.build(stop - start, dimension)

    def add_class_rows(self, name: str, shape: tuple[int, ...], initializer) -> keras.Variable:
        """Adds a weight with one or more rows per class, partitioned as the head is."""
        options = {"dtype": "float32", "autocast": False, "name": name}
        if self.partition == "host" or self.partition and collectives.replica_count() > 1:
            on_host = self.partition == "host"
            initializer = keras.initializers.get(initializer)
            return PartitionedVariable(initializer, shape, self.num_classes, on_host, **options)
        return self.add_weight(shape=shape, initializer=initializer, **options)

    def call(
        self,
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        training: bool | None = None,
        reach: str = "both",
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the per-example losses.

        Args:
          embeddings: float [B, d], any norm.
          labels: integer [B], each in [0, num_classes).
          training: bool; False: all classes, without sampling.
          reach: where gradients go: "both", "embeddings" or "weights", the class weights; queued embeddings of past
            steps reach the weights only.
          sample_weight: float [B], factors of the losses; None: ones. A factor that is applied to the losses of a
            partitioned head afterwards must be the same for all examples, as in a mean.

        Returns:
          float32 [B].

        Raises:
          ValueError: wrong rank, labels that are not integers, or an unknown `reach`.
          tf.errors.InvalidArgumentError: a label is out of range, or an embedding is not finite.
        """
        check_option("reach", reach, ("both", "embeddings", "weights"))
        embeddings = as_embeddings(embeddings)
        if reach == "weights":
            embeddings = tf.stop_gradient(embeddings)
        labels = self.check_labels(labels)
        if self.class_rows.partial:
            batch = collectives.gather_batch(embeddings, labels, sample_weight)
            losses = self.losses(batch.embeddings, batch.labels, training, reach)
            return batch.own(losses * batch.sample_weight)
        losses = self.losses(embeddings, labels, training, reach)
        return losses if sample_weight is None else losses * tf.cast(sample_weight, losses.dtype)

    def check_labels(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns labels [B], checked to be integers from `lowest_label` to num_classes - 1."""
        return check_labels(labels, self.num_classes, self.lowest_label, type(self).__name__)

    def losses(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None, reach: str) -> tf.Tensor:
        """Computes the losses [B] of checked float32 embeddings and labels; if partitioned, those of all replicas."""
        context = self.context(embeddings, labels, training)
        bias = None if self.class_bias is None else tf.convert_to_tensor(self.class_bias)
        rows, shard_sum = self.class_rows, collectives.sum_over_replicas if self.class_rows.partial else None
        # The engine takes -1 for a void class, so a label of another shard, or of no class, must be another number.
        labels = tf.where(labels < 0, tf.cast(self.num_classes, labels.dtype), labels)
        labels = rows.local(labels, elsewhere=self.num_classes)
        if self.sampler is None or training is False:
            weights = tf.convert_to_tensor(self.class_weights)
            return self._engine(embeddings, weights, labels, context, bias, reach=reach, shard_sum=shard_sum)
        start, stop = rows.classes
        seed = self.seed_generator.next()
        if rows.partial:
            seed = tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), start)
        sampler = dict(self.samplers).get((start, stop), self.sampler)
        sample = sampler(*self._sampled_for(labels, embeddings, stop - start, seed))
        weights = rows.take_local(sample.rows)
        bias = None if bias is None else tf.gather(bias, sample.rows)
        return self._engine(
            embeddings, weights, labels, context, bias, sample.classes, sample.counts, reach, shard_sum=shard_sum
        )

    def _sampled_for(self, labels, embeddings, num_classes, seed):
        """The arguments of the sampler: the batch of all replicas, so that they draw the same classes as one device."""
        embeddings = tf.stop_gradient(embeddings)
        if self.in_part:
            size = labels.shape[0]
            labels = collectives.gather_integers(labels).values
            labels.set_shape([None if size is None else size * collectives.replica_count()])
            # Only samplers that are built for a dimension look at embeddings.
            embeddings = collectives.all_gather(embeddings) if self.samplers else embeddings
        return labels, num_classes, seed, embeddings

    @property
    def in_part(self) -> bool:
        """Whether the caller is a replica that has only its part of the batch, because it has all classes."""
        return collectives.among_replicas() and not self.class_rows.partial

    def sum_over_batch(self, value: tf.Tensor) -> tf.Tensor:
        """Returns the sum of a statistic over the batch of all replicas, given that of the embeddings in `losses`."""
        return collectives.sum_over_replicas(value) if self.in_part else value

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras leaves out the states of random generators.
        for number, generator in enumerate(self._seed_generators):
            store[f"seed_{number}"] = generator.state

    def load_own_variables(self, store):
        # Files of release 0.1 have no states.
        states = {name: store[name] for name in store.keys() if name.startswith("seed_")}  # noqa: SIM118
        super().load_own_variables({name: store[name] for name in store.keys() if name not in states})  # noqa: SIM118
        for number, generator in enumerate(self._seed_generators):
            if f"seed_{number}" in states:
                generator.state.assign(states[f"seed_{number}"])

    def target_cosines(self, embeddings: tf.Tensor, labels: tf.Tensor, reach: str = "both") -> tf.Tensor:
        """Computes the cosines [B] between embeddings [B, d] and the weights of their own classes."""
        rows = self.class_rows.frozen() if reach == "embeddings" else self.class_rows
        return rows.target_cosines(unit_rows(embeddings)[0], labels)

    def logits(self, embeddings: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Computes logits for your own cross-entropy; gradients are those of automatic differentiation.

        Args:
          embeddings: float [B, d]; a KerasTensor makes a layer of a functional model.
          labels: integer [B]; the margin is applied to these classes. None: logits without a margin.

        Returns:
          float32 [B, K].
        """
        if isinstance(embeddings, keras.KerasTensor):
            return HeadLogits(self)(embeddings) if labels is None else HeadLogits(self)(embeddings, labels)
        embeddings = as_embeddings(embeddings)
        if not self.built:
            self.build(embeddings.shape)
        products = self._products(embeddings)
        if labels is None:
            return self.plain_logit(products)
        labels = self.check_labels(labels)
        context = self.context(embeddings, labels, training=False)
        logits = self.negative_logit(products, {name: value[:, None] for name, value in context.items()})
        target = self.target_logit(tf.gather(products, tf.maximum(labels, 0), batch_dims=1), context)
        is_target = tf.one_hot(labels, self.num_classes, on_value=True, off_value=False, dtype=tf.bool)
        return tf.where(is_target, target[:, None], logits)

    def _products(self, embeddings):
        """Computes the cosines (or raw products) [B, K] of all classes."""
        weights = tf.convert_to_tensor(self.class_weights)
        if self.normalize:
            embeddings, weights = unit_rows(embeddings)[0], weights * inverse_norms(weights)
        products = tf.matmul(embeddings, weights, transpose_b=True)
        products = tf.reduce_max(tf.reshape(products, [-1, self.num_classes, self.sub_centers]), axis=2)
        return products if self.class_bias is None else products + self.class_bias

    def get_class_weights(self) -> np.ndarray:
        """Returns the class weights as NumPy float32 [K, d] (with sub-centers [K · sub_centers, d])."""
        return self.class_weights.numpy()

    def set_class_weights(self, class_weights: np.ndarray) -> None:
        """Replaces the class weights by an array of the shape that `get_class_weights` returns.

        Raises:
          ValueError: the shape differs.
        """
        if tuple(class_weights.shape) != tuple(self.class_weights.shape):
            raise ValueError(
                f"class_weights must have shape {tuple(self.class_weights.shape)}, got {tuple(class_weights.shape)}."
            )
        self.class_weights.assign(class_weights)

    def compute_output_shape(self, embeddings_shape, labels_shape=None):
        return (embeddings_shape[0],)

    def __repr__(self) -> str:
        """Returns the options that differ from None, such as "<ArcFace num_classes=5, scale=64.0, margin=0.5>"."""
        common = ("name", "trainable", "dtype", "class_weights_initializer")
        options = ((name, value) for name, value in self.get_config().items() if name not in common)
        shown = [f"{name}={value!r}" for name, value in options if isinstance(value, bool | int | float | str)]
        return f"<{type(self).__name__} {', '.join(shown)}>"

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "class_weights_initializer": keras.initializers.serialize(self.class_weights_initializer),
            "chunk_size": self.chunk_size,
            "sampler": keras.saving.serialize_keras_object(self.sampler),
            "jit_compile": self.jit_compile,
            "partition": self.partition,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "sampler": keras.saving.deserialize_keras_object(config["sampler"])})


def check_arguments(head: type[ClassificationHead], others: dict) -> None:
    """Raises ValueError for arguments `others` that neither a head nor a Keras layer has, with those that it has."""
    unknown = [name for name in others if name not in _OF_LAYERS]
    if not unknown:
        return
    known: dict = {}
    for parent in head.__mro__[: head.__mro__.index(ClassificationHead) + 1]:
        if "__init__" in vars(parent):
            known |= dict.fromkeys(list(inspect.signature(vars(parent)["__init__"]).parameters)[1:])
    known.pop("kwargs", None)
    instead = "".join(f"; {head.instead[name]}" for name in unknown if name in head.instead)
    raise ValueError(f"{head.__name__} has no {' and no '.join(unknown)}{instead}. It has {', '.join(known)}.")


def as_embeddings(embeddings: tf.Tensor) -> tf.Tensor:
    embeddings = tf.convert_to_tensor(embeddings)
    if embeddings.shape.rank != 2:
        raise ValueError(f"embeddings must have shape [B, d], got {embeddings.shape}.")
    embeddings = tf.cast(embeddings, tf.float32)
    message = "embeddings must be finite, got NaN or infinity; a smaller learning rate or a longer warm-up may help"
    finite = tf.reduce_all(tf.math.is_finite(embeddings))
    with tf.control_dependencies([tf.debugging.Assert(finite, [message])]):
        return tf.identity(embeddings)
