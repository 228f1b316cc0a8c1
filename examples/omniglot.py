"""The open-set experiment on Omniglot: what a queue of past embeddings does to recall, epoch by epoch."""

import csv
import io
import itertools
import pathlib

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from tfface import csv_files, evaluation, progress
from tfface.data.sources.zip_folders import ZipSource
from tfface.heads.arcface import ArcFace
from tfface.heads.broadface import BroadFace
from tfface.training.callbacks.drift import EmbeddingDrift
from tfface.training.face_model import FaceModel

IMAGE_SIZE, HELDOUT, BATCH_SIZE, EMBEDDING_DIM = 28, 100, 128, 64

# Name: queue size, compensation.
VARIANTS = {
    "ArcFace": (0, True),
    "BroadFace 2k": (2048, True),
    "BroadFace 2k, not compensated": (2048, False),
    "BroadFace 8k": (8192, True),
    "BroadFace 8k, not compensated": (8192, False),
}
_STYLES = (
    {"color": "black", "linestyle": "-"},
    {"color": "#56B4E9", "linestyle": "-"},
    {"color": "#56B4E9", "linestyle": "--"},
    {"color": "#D55E00", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": "--"},
)


def load(path):
    """Reads the characters of Omniglot; the last by name are held out.

    Args:
      path: zip archive `images_background/alphabet/character/image.png`.

    Returns:
      ((images, labels), (images, labels)) to train on and held out; images float32 [N, 28, 28, 1], ink is 1.
    """
    source = ZipSource(path, root="images_background", depth=2)
    images, names = [], []
    for item in source.items():
        image = Image.open(io.BytesIO(source.read(item))).convert("L")
        images.append(1 - np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX), np.float32) / 255)
        names.append(item.identity)
    characters, labels = np.unique(names, return_inverse=True)
    images, train = np.stack(images)[..., None], labels < len(characters) - HELDOUT
    return (images[train], labels[train]), (images[~train], labels[~train])


def run(path, folder, seeds=3, epochs=8, learning_rate=0.1):
    """Trains each variant with each seed, and writes `recall.csv`, a row an epoch; runs that are in it are left alone.

    The first run of the longest queue writes Figure 5a of the paper too, in mid-run and at its end: `EmbeddingDrift`.

    Args:
      path: archive of `load`.
      folder: for the files.
      seeds, epochs: ints.
      learning_rate: float, the same for all steps.

    Returns:
      dict from variant to float [seeds, epochs + 1], recall@1 of the held-out characters; untrained first.
    """
    training, heldout = load(path)
    folder = pathlib.Path(folder)
    found = _read(folder / "recall.csv")
    pairs = list(itertools.product(range(seeds), VARIANTS))
    for seed, variant in progress.bar(pairs, desc="train", unit=" runs"):
        if (variant, seed) not in found:
            callbacks = []
            if (variant, seed) == ("BroadFace 8k", 0):
                steps = epochs * (len(training[0]) // BATCH_SIZE)
                some = [array[::33] for array in training]
                callbacks.append(EmbeddingDrift(folder, *some, every=steps // 2, start_step=0, total_steps=steps))
            found[variant, seed] = _train(variant, seed, training, heldout, epochs, learning_rate, callbacks)
            _write(folder / "recall.csv", found)
    return {variant: np.array([found[variant, seed] for seed in range(seeds)]) for variant in VARIANTS}


def _train(variant, seed, training, heldout, epochs, learning_rate, callbacks):
    keras.utils.set_random_seed(seed)
    queue_size, compensate = VARIANTS[variant]
    images, labels = training
    head = ArcFace(int(labels.max()) + 1, scale=32.0, margin=0.3, jit_compile=True)
    model = FaceModel(build_encoder(), BroadFace(head, queue_size, compensate))
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9))
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed)
    batches = batches.batch(BATCH_SIZE, drop_remainder=True).prefetch(2)
    recalls = [_recall(model.encoder, *heldout)]
    for _ in range(epochs):
        model.fit(batches, verbose=0, callbacks=callbacks)
        recalls.append(_recall(model.encoder, *heldout))
    return recalls


def build_encoder(side=IMAGE_SIZE, embedding_dim=EMBEDDING_DIM):
    """Returns three convolutions, each of half the resolution before it; the embedding ends in batch normalisation."""
    network = keras.Sequential([keras.Input((side, side, 1))])
    for filters in (16, 32, 64):
        network.add(keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False))
        network.add(keras.layers.BatchNormalization())
        network.add(keras.layers.ReLU())
    network.add(keras.layers.Flatten())
    network.add(keras.layers.Dense(embedding_dim, use_bias=False))
    network.add(keras.layers.BatchNormalization(scale=False))
    return network


def _recall(encoder, images, labels):
    embeddings = encoder.predict(images, batch_size=500, verbose=0)
    return evaluation.retrieve(embeddings, labels, recall_at=(1,)).recall_at[1]


def _read(path):
    found = {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault((row["variant"], int(row["seed"])), []).append(float(row["recall_at_1"]))
    return found


def _write(path, found):
    rows = (
        (variant, seed, epoch, f"{recall:.4f}")
        for (variant, seed), recalls in found.items()
        for epoch, recall in enumerate(recalls)
    )
    csv_files.write_table(path, ["variant", "seed", "epoch", "recall_at_1"], rows)


def table(recalls):
    """Returns a Markdown table of recall@1 in %, mean ± standard deviation over the seeds, by epoch."""
    epochs = range(1, next(iter(recalls.values())).shape[1])
    lines = ["| epoch | " + " | ".join(map(str, epochs)) + " |", "|---" * (len(epochs) + 1) + "|"]
    for variant, values in recalls.items():
        deviations = np.std(100 * values, axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        cells = [f"{100 * values[:, epoch].mean():.1f} ± {deviations[epoch]:.1f}" for epoch in epochs]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(recalls):
    """Draws recall@1 against the epoch: means over the seeds, and bands from the lowest to the highest."""
    picture = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = picture.add_subplot()
    for (variant, values), style in zip(recalls.items(), _STYLES, strict=True):
        epochs, percent = np.arange(1, values.shape[1]), 100 * values[:, 1:]
        axes.plot(epochs, percent.mean(axis=0), label=variant, linewidth=1.8, marker="o", markersize=3, **style)
        axes.fill_between(
            epochs, percent.min(axis=0), percent.max(axis=0), color=style["color"], alpha=0.12, linewidth=0
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("recall@1 of 100 held-out characters (%)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize=9)
    return picture
