"""Toys of the papers on Omniglot: embeddings of two dimensions, and cosines between class weights."""

import keras
import matplotlib
import numpy as np
import omniglot
import tensorflow as tf
from matplotlib.figure import Figure

from tfface import evaluation
from tfface.config import components
from tfface.evaluation.metrics.directions import unit_rows
from tfface.evaluation.reports.plots import COLOURS, draw_counts
from tfface.figures.base import panels
from tfface.figures.class_weight_cosines import draw_random_directions
from tfface.training.face_model import FaceModel

# ArcFace's Figure 3, SphereFace2's Figure 7, and D-Softmax.
TOYS = (
    "Softmax",
    "NormSoftmax(scale=16)",
    "ArcFace(scale=16, margin=0.5)",
    "CosFace(scale=16, margin=0.35)",
    "SphereFace2(radius=8, margin=0.1, adjustment=1, loss_weight=10)",
    "DSoftmax(scale=16, termination=0.9)",
)
# D-Softmax's Figure 4.
COSINES = ("Softmax", "NormSoftmax(scale=16)", "ArcFace(scale=16, margin=0.3)", "DSoftmax(scale=16, termination=0.9)")
CHARACTERS, COSINE_EPOCHS = 8, 8


def draw(images, labels, epochs=150):
    """Returns the two figures, of the toys and of the cosines, after so many epochs of a toy."""
    some = labels < CHARACTERS
    toys = {head: train(head, images[some], labels[some], epochs, dim=2) for head in TOYS}
    weights = {head: train(head, images, labels, COSINE_EPOCHS)[1].get_class_weights() for head in COSINES}
    return draw_toys(toys, images[some], labels[some]), draw_cosines(weights)


def train(head, images, labels, epochs, dim=64):
    """Trains the small network with a head, and returns both."""
    keras.utils.set_random_seed(0)
    classes = {"num_classes": int(labels.max()) + 1}
    model = FaceModel(omniglot.build_encoder(embedding_dim=dim), components.build("head", head, classes))
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), 0)
    batches = batches.batch(min(omniglot.BATCH_SIZE, len(images) // 4), drop_remainder=True)
    steps = len(batches) * epochs
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.05, steps), momentum=0.9))
    model.fit(batches, epochs=epochs, verbose=0)
    return model.encoder, model.head


def draw_toys(toys, images, labels):
    """Draws a panel per head: embeddings as they are for Softmax, of unit length for the others, and class weights."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    colours = matplotlib.colormaps["tab10"](np.arange(CHARACTERS))
    for axes, (name, (encoder, head)) in zip(figure.subplots(2, 3).flat, toys.items(), strict=True):
        vectors, weights = encoder.predict(images, verbose=0), unit_rows(head.get_class_weights(), "class_weights")
        if name != "Softmax":
            vectors = unit_rows(vectors, "embeddings")
        length = np.linalg.norm(vectors, axis=1).max()
        for label, colour in enumerate(colours):
            axes.scatter(*vectors[labels == label].T, s=10, color=colour, alpha=0.7, linewidths=0)
            axes.plot(*np.stack([[0, 0], weights[label] * length], axis=1), color=colour, linewidth=1.2)
        axes.set_aspect("equal")
        axes.set_title(name, fontsize=10, parse_math=False)
    return figure


def draw_cosines(weights):
    """Draws a histogram per head of the cosines between all pairs of its class weights."""
    figure, grid = panels(len(weights), 7.5, 2.4)
    for axes, (name, rows) in zip(grid, weights.items(), strict=True):
        found = evaluation.pairwise_cosines(rows)
        draw_counts(axes, found.counts, found.edges, COLOURS[0], f"{found.mean:.3f} ± {found.std:.3f}")
        draw_random_directions(axes, found.edges, rows.shape[1])
        axes.set_title(name, fontsize=10, loc="left", parse_math=False)
        axes.set_xlim(-1, 1)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=9)
    grid[-1].set_xlabel("cosine between class weights")
    return figure
