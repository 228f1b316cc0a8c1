"""Keras callback for `model.fit`: verification on people that the training does not know, after each epoch."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfface import evaluation, export
from tfface.data.origins import naming_bad_data
from tfface.data.protocols.pair_sampling import sample_most_pairs
from tfface.data.protocols.pairs import Pairs
from tfface.export.embedding.embedder import check_dataset

_BATCH_SIZE = 64


class EpochVerification(keras.callbacks.Callback):
    """Writes the verification accuracy on held-out people into the logs of `model.fit`, as "val_verification".

    `History`, `CSVLogger`, `TensorBoard`, `EarlyStopping`, `ModelCheckpoint` and others then read it there, with
    `monitor="val_verification"` and `mode="max"`; this callback must come before them in the list of `fit`. Images are
    embedded by the encoder of the model, or by the moving average of its weights if it has one.

    Args:
      x: float32 images [N, height, width, C] in [-1, 1], or a `tf.data.Dataset` of batches {"image", "key", "label"},
        such as `tfface.data.eval_dataset("records/heldout", 64)`.
      y: int or str [N], the people on the images; None for a dataset.
      pairs: `Pairs` among the keys of the dataset, or among "0" to "N - 1" for arrays; None: pairs are drawn.
      most: int, largest number of pairs that are drawn.
      seed: int, of the draw.
      every: int >= 1, epochs from one verification to the next; the logs of those between have no "val_verification".

    Attributes:
      result: the last `VerificationResult`; None before the first.

    Raises:
      ValueError: lengths do not fit, there are neither labels nor pairs, or `every` is smaller than 1; after the first
        epoch: no pairs can be drawn, or as for `tfface.evaluation.verify`.
    """

    def __init__(
        self,
        x: np.ndarray | tf.data.Dataset,
        y: Sequence[int] | Sequence[str] | np.ndarray | None = None,
        pairs: Pairs | None = None,
        *,
        most: int = 6000,
        seed: int = 0,
        every: int = 1,
    ):
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every!r}.")
        self.dataset = _dataset_of(x, y)
        if pairs is None and "label" not in self.dataset.element_spec:
            raise ValueError("pairs can only be drawn from images with labels, and the dataset has none: give pairs.")
        self.pairs, self.most, self.seed, self.every = pairs, most, seed, every
        self.result: evaluation.VerificationResult | None = None

    def on_train_begin(self, logs=None):
        # One for all epochs, because each makes a graph.
        self._embedder = export.encoder_embedder(self.model.final_encoder)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        with naming_bad_data(self.dataset):
            found = export.embed_dataset(self._embedder, self.dataset)
        if self.pairs is None:
            self.pairs = sample_most_pairs(found.keys, found.labels, self.most, self.seed)
        self.result = evaluation.verify(found.vectors, found.keys, self.pairs)
        logs["val_verification"] = self.result.accuracy.mean


def _dataset_of(x, y):
    """Returns the dataset, or one of arrays, with the numbers of their rows as keys."""
    if isinstance(x, tf.data.Dataset):
        if y is not None:
            raise ValueError(f"a dataset has its own labels: y must be None, got {type(y).__name__}.")
        check_dataset(x)
        return x
    people = np.unique(np.asarray(y), return_inverse=True)[1]
    if people.shape != (len(x),):
        raise ValueError(f"y must name the person on each of the {len(x)} images, got shape {np.shape(y)}.")
    rows = {"image": x, "key": np.arange(len(x)).astype(str), "label": people}
    return tf.data.Dataset.from_tensor_slices(rows).batch(_BATCH_SIZE)
