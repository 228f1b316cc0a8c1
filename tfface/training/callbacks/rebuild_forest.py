"""Keras callback that keeps the forest of a `HashForestSampler` up to date."""

import keras
import numpy as np


class RebuildForest(keras.callbacks.Callback):
    """Rebuilds the forest of a head's sampler when training begins and after every `every` batches of the run.

    With sub-centers, the forest has the mean of the directions of each class.

    Args:
      head: `ClassificationHead`, or a wrapper of one, whose sampler is a `HashForestSampler`.
      every: int, batches between rebuilds.
      start_step: int, batches of the run before this `fit`. Where there are any and a checkpoint has restored the
        forest, it is kept, so that a resumed run is the uninterrupted one.

    Raises:
      ValueError: the head's sampler has no forest, or `every` is smaller than 1.
    """

    def __init__(self, head: keras.layers.Layer, every: int = 1000, start_step: int = 0):
        super().__init__()
        if not hasattr(head.sampler, "rebuild"):
            raise ValueError(f"the head's sampler must have a forest to rebuild, got {head.sampler!r}.")
        if int(every) != every or every < 1:
            raise ValueError(f"every must be an integer of at least 1, got {every!r}.")
        self.head = head
        self.every = int(every)
        self.start_step = start_step

    def on_train_begin(self, logs=None):
        self.batches = self.start_step
        if not (self.start_step and all(sampler.has_forest for _, sampler in self.head.samplers)):
            self.rebuild()

    def on_train_batch_end(self, batch, logs=None):
        # Counted here, because Keras counts from zero in every epoch.
        self.batches += 1
        if self.batches % self.every == 0:
            self.rebuild()

    def rebuild(self) -> None:
        """Rebuilds the forest from the current class weights."""
        weights = self.head.get_class_weights()
        if self.head.sub_centers > 1:
            weights = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
            weights = weights.reshape(self.head.num_classes, self.head.sub_centers, -1).mean(axis=1)
        for (start, stop), sampler in self.head.samplers:
            sampler.rebuild(weights[start:stop])
