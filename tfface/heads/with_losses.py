"""Weighted losses as a head: beside a head, or alone."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfface.checks import check_option
from tfface.distribute import collectives
from tfface.heads.base import ClassificationHead, as_embeddings
from tfface.heads.wrapper import HeadWrapper

Terms = Sequence[tuple[float, keras.layers.Layer]]


@keras.saving.register_keras_serializable("tfface")
class HeadWithLosses(HeadWrapper):
    """Losses of a head plus Σ weight · loss, in a layer that can stand wherever a head can.

    Args:
      head: `ClassificationHead`, or a wrapper of one.
      terms: list of pairs (weight: float, loss: a layer of `tfface.losses`).
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: a term needs inputs that a head does not have, such as the pairs of `ContrastiveLoss`, or needs one
        row of weights per class and the head has sub-centers.
    """

    def __init__(self, head: ClassificationHead | HeadWrapper, terms: Terms, **kwargs):
        super().__init__(head, **kwargs)
        self.weights_of_terms, self.terms = _checked(terms, {"embeddings", "labels", "class_weights"})
        for loss in self.terms:
            if "class_weights" in loss.takes and head.sub_centers > 1 and not loss.takes_sub_centers:
                raise ValueError(
                    f"{type(loss).__name__} needs one row of weights per class, got a head with "
                    f"sub_centers={head.sub_centers}."
                )

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape, labels_shape)
        _build(self.terms, embeddings_shape)

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
          embeddings: float [B, d].
          labels: integer [B].
          training: bool; running values of the terms, such as centres, move with True only.
          reach: where gradients go, as in `ClassificationHead.call`. With "weights", terms without any weights to
            learn are left out.
          sample_weight: float [B], factors of the sums; None: ones.

        Returns:
          float32 [B].
        """
        losses = self.head.call(embeddings, labels, training=training, reach=reach, sample_weight=sample_weight)
        weighted = list(zip(self.weights_of_terms, self.terms, strict=True))
        on_classes = [term for term in weighted if "class_weights" in term[1].takes]
        others = [term for term in weighted if "class_weights" not in term[1].takes]
        losses += _sum(others, embeddings, labels, training, reach, sample_weight)
        if not on_classes:
            return losses
        embeddings = as_embeddings(embeddings)
        embeddings = tf.stop_gradient(embeddings) if reach == "weights" else embeddings
        rows = self.class_rows.frozen() if reach == "embeddings" else self.class_rows
        if not rows.partial:
            return losses + _sum(on_classes, embeddings, labels, training, reach, sample_weight, rows)
        # Each replica has a part of these terms for the examples of all, as of the losses of the head.
        batch = collectives.gather_batch(embeddings, labels, sample_weight)
        return losses + batch.own(
            _sum(on_classes, batch.embeddings, batch.labels, training, reach, batch.sample_weight, rows)
        )

    def get_config(self):
        return {**super().get_config(), "terms": _serialized(self)}

    @classmethod
    def from_config(cls, config):
        return super().from_config({**config, "terms": _deserialized(config["terms"])})


@keras.saving.register_keras_serializable("tfface")
class LossesAlone(keras.layers.Layer):
    """Σ weight · loss in the place of a head, without class weights: `LossesAlone([(1.0, TripletLoss())])`.

    Args:
      terms: list of pairs (weight: float, loss: a layer of `tfface.losses` that takes no class weights).
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: there is no term, or one needs class weights or pairs.
    """

    # Labels are only compared with each other; what needs less is refused by the losses themselves.
    sampler = None
    whole_batch = False

    def __init__(self, terms: Terms, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.weights_of_terms, self.terms = _checked(terms, {"embeddings", "labels"})
        if not self.terms:
            raise ValueError("terms must hold at least one pair (weight, loss), got none.")

    def build(self, embeddings_shape, labels_shape=None):
        _build(self.terms, embeddings_shape)

    def call(
        self,
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        training: bool | None = None,
        reach: str = "both",
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the per-example losses [B], as `HeadWithLosses.call`."""
        terms = zip(self.weights_of_terms, self.terms, strict=True)
        return _sum(terms, embeddings, labels, training, reach, sample_weight)

    def compute_output_shape(self, embeddings_shape, labels_shape=None):
        return (embeddings_shape[0],)

    def get_config(self):
        return {**super().get_config(), "terms": _serialized(self)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "terms": _deserialized(config["terms"])})


def _checked(terms, inputs):
    """Returns weights and losses of the terms, whose losses take these inputs only."""
    for _, loss in terms:
        if not {*loss.takes} <= inputs:
            raise ValueError(f"terms must take {', '.join(sorted(inputs))} only, got {loss!r}, of {loss.takes}.")
    return [float(weight) for weight, _ in terms], [loss for _, loss in terms]


def _build(terms, embeddings_shape):
    for loss in terms:
        if not loss.built:
            loss.build(embeddings_shape)


def _sum(terms, embeddings, labels, training, reach, sample_weight, class_rows=None):
    """Computes Σ weight · loss [B] of the terms that have something to reach, times the weights of the examples."""
    check_option("reach", reach, ("both", "embeddings", "weights"))
    given = {"embeddings": embeddings, "labels": labels}
    total = tf.zeros(tf.shape(labels))
    for weight, loss in terms:
        # BroadFace's queue can be too long for the pairs of a term that would learn nothing from it.
        if reach != "weights" or "class_weights" in loss.takes or loss.trainable_variables:
            # Keras would replace training=None by the value of the outermost call.
            tensors = [given[name] for name in loss.takes if name in given]
            rows = {"class_weights": class_rows} if "class_weights" in loss.takes else {}
            total += weight * loss(*tensors, **rows, training=bool(training))
    return total if sample_weight is None else total * tf.cast(sample_weight, total.dtype)


def _serialized(layer):
    return [
        [weight, keras.saving.serialize_keras_object(loss)]
        for weight, loss in zip(layer.weights_of_terms, layer.terms, strict=True)
    ]


def _deserialized(terms):
    return [(weight, keras.saving.deserialize_keras_object(loss)) for weight, loss in terms]
