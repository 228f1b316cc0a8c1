"""Keras callback that shows how far embeddings drift over past steps: BroadFace's Figure 5a."""

import os
import pathlib

import numpy as np
from matplotlib.figure import Figure

from tfface import evaluation, files
from tfface.evaluation.metrics.drift import compensate
from tfface.training.callbacks.steps import StepCallback


class EmbeddingDrift(StepCallback):
    """Follows embeddings of some training images over a window of steps; writes `drift-STEP.csv`, `.png` and `.npz`.

    The first two show the mean cosine error of embeddings by their age in steps, as in a queue, with and without
    compensation by the movement of their class weights. The third has the embeddings at the ends of the window, float32
    [N, D] each: `past`, `compensated` and `current`. Each step of the window costs one pass over the images.

    Args:
      folder: path of the run.
      images: float [N, height, width, C], images of the training classes.
      labels: int [N].
      every: int, of `StepCallback`; the window ends there.
      start_step: int, of `StepCallback`.
      total_steps: int, of `StepCallback`.
      window: int, steps, at most `every`.

    Raises:
      ValueError: the window is longer than `every`, or shorter than 1.

    Reference:
      Kim et al., "BroadFace: Looking at Tens of Thousands of People at Once for Face Recognition", 2020, Figure 5.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        images,
        labels: np.ndarray,
        every: int,
        start_step: int,
        total_steps: int,
        window: int = 64,
    ):
        super().__init__(every, start_step, total_steps)
        if not 1 <= window <= every:
            raise ValueError(f"window must be in [1, {every}], the steps between two pictures, got {window!r}.")
        self.folder = pathlib.Path(folder)
        self.images, self.labels, self.window = images, np.asarray(labels), window
        self.embeddings: list[np.ndarray] = []
        self.class_weights: list[np.ndarray] = []

    def on_train_begin(self, logs=None):
        if not hasattr(self.model.head, "get_class_weights"):
            raise ValueError(f"the drift of embeddings needs a head with class weights, got {self.model.head!r}.")
        super().on_train_begin(logs)

    def on_train_batch_end(self, batch, logs=None):
        step = self.step + 1
        if min(-step % self.every, self.total_steps - step) <= self.window:
            self._look()
        super().on_train_batch_end(batch, logs)

    def _look(self):
        head = self.model.head
        weights = head.get_class_weights()
        # The direction of sub-centers is that of their mean.
        rows = weights.reshape(-1, head.sub_centers, weights.shape[1])[self.labels].mean(axis=1)
        for past, now in (
            (self.embeddings, self.model.encoder.predict(self.images, verbose=0)),
            (self.class_weights, rows),
        ):
            past.append(np.asarray(now, np.float32))
            del past[: -self.window - 1]

    def at_step(self, step: int, logs) -> None:
        embeddings, class_weights = np.stack(self.embeddings), np.stack(self.class_weights)
        self.embeddings, self.class_weights = [], []
        errors = {
            "without compensation": evaluation.embedding_drift(embeddings)[::-1],
            "with compensation": evaluation.embedding_drift(embeddings, class_weights)[::-1],
        }
        lines = ["steps_before," + ",".join(name.replace(" ", "_") for name in errors)]
        lines += [
            f"{age},{max(one, 0):.6f},{max(other, 0):.6f}"
            for age, (one, other) in enumerate(zip(*errors.values(), strict=True))
        ]
        ends = {
            "past": embeddings[0],
            "compensated": compensate(embeddings[0], class_weights[0], class_weights[-1]).astype(np.float32),
            "current": embeddings[-1],
        }
        with files.replacing(self.folder / f"drift-{step}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, **ends)
        files.write_atomically(self.folder / f"drift-{step}.csv", ("\n".join(lines) + "\n").encode())
        with files.replacing(self.folder / f"drift-{step}.png") as temporary:
            drift_figure(errors).savefig(temporary, format="png")


def drift_figure(errors: dict[str, np.ndarray]) -> Figure:
    """Draws mean cosine errors, dict from name to float [T] by the age of the embeddings in steps, as a Figure."""
    figure = Figure(figsize=(7.5, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for (name, values), style in zip(errors.items(), ("-", "--"), strict=False):
        axes.plot(values, linestyle=style, linewidth=1.8, label=name)
    axes.set_xlabel("age of the embedding (steps)")
    axes.set_ylabel("mean cosine error, 1 − cos")
    axes.set_ylim(bottom=0)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", fontsize=9)
    return figure
