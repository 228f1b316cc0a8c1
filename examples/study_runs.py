"""Trainings of the studies: each with several seeds, one after another, on one core."""

import csv
import math
import pathlib
import time

import keras
import numpy as np
import omniglot
import tensorflow as tf

from tfface import csv_files, evaluation, progress
from tfface.config import components
from tfface.data.curation.label_noise import shuffle_labels
from tfface.data.sources.base import Item
from tfface.heads import HeadWithLosses
from tfface.training.callbacks import RebuildForest
from tfface.training.face_model import FaceModel

BATCH_SIZE, LEARNING_RATE, REBUILD_EVERY = 128, 0.1, 50
_ANGLES = ("W-EC", "W-Inter", "training Intra", "training Inter", "held-out Intra", "held-out Inter")
MEASURES = ("recall@1", "TAR at FAR 1e-3", *(f"{name} (degrees)" for name in _ANGLES), "cosine std", "seconds")
_HEADER = ["training", "steps", "seed", *MEASURES]


def run(studies, data, path, seeds=3, steps=135, trainer=None):
    """Trains each row of each study with each seed, and adds finished runs to a file; those in it are not repeated.

    Args:
      studies: list of `Study`, the most important first.
      data: what `omniglot.load` returned.
      path: of the CSV file.
      seeds: int.
      steps: int, of a training.
      trainer: function (row, data, steps) -> function of a seed -> dict of measures; None: `Trainer`.

    Returns:
      dict from (training, seed) to dict of measures.

    Raises:
      ValueError: a head refused its arguments, after all other trainings.
    """
    found, refused, trainer = read(path, steps), [], trainer or Trainer
    trainings = {settings: row for study in studies for one in study.rows for settings, row in one.trainings().items()}
    missing = {settings: [seed for seed in range(seeds) if (settings, seed) not in found] for settings in trainings}
    with progress.bar(desc="train", unit=" runs", total=sum(map(len, missing.values()))) as bar:
        for settings, row in trainings.items():
            try:
                train = trainer(row, data, steps) if missing[settings] else None
                for seed in missing[settings]:
                    found[settings, seed] = train(seed)
                    _write(path, found, steps)
                    bar.update()
            except ValueError as error:
                refused.append(f"{settings}: {error}")
                progress.note(refused[-1])
    if refused:
        raise ValueError("; ".join(refused))
    return found


def read(path, steps):
    """Returns the finished runs of a file, dict from (training, seed) to dict of measures; {} if there is none."""
    return {
        (line["training"], int(line["seed"])): _numbers(line) for line in _lines(path) if line["steps"] == str(steps)
    }


def _numbers(line):
    return {name: float(line[name]) for name in MEASURES}


def _lines(path):
    if not pathlib.Path(path).is_file():
        return []
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path, found, steps):
    others = [[line[name] for name in _HEADER] for line in _lines(path) if line["steps"] != str(steps)]
    rows = [
        [training, steps, seed, *(f"{measures[name]:.4f}" for name in MEASURES)]
        for (training, seed), measures in found.items()
    ]
    csv_files.write_table(path, _HEADER, others + rows)


class Trainer:
    """Trains one row; its step is traced once, for all seeds.

    Args:
      row: `Row` of one head.
      data: what `omniglot.load` returned.
      steps: int.
    """

    def __init__(self, row, data, steps):
        (images, labels), self.heldout = data
        self.row, self.steps = row, steps
        self.classes = row.classes or int(labels.max()) + 1
        own = labels < self.classes
        self.images, self.labels, self.strangers = images[own], labels[own].astype(np.int32), images[~own]
        self.model = self._build()

    def __call__(self, seed):
        """Trains with a seed.

        Returns:
          dict from each of MEASURES to float.
        """
        start = time.process_time()
        keras.utils.set_random_seed(seed)
        _copy(self._build(), self.model)
        self.model.fit(self._batches(seed), callbacks=self._callbacks(), verbose=0)
        return {**self._measure(), "seconds": time.process_time() - start}

    def _build(self):
        row = self.row
        head = components.build("head", row.head, {"num_classes": self.classes})
        if row.losses:
            head = HeadWithLosses(head, [components.build("loss", loss) for loss in row.losses])
        model = FaceModel(omniglot.build_encoder(), head)
        # Without it, the first gradients at a scale of 64 make class weights so long that later ones hardly turn them.
        warmup = self.steps // 9 if row.warmup else 0
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, self.steps - warmup, warmup_target=LEARNING_RATE, warmup_steps=warmup
        )
        model.compile(keras.optimizers.SGD(schedule, momentum=0.9))
        model.optimizer.build(model.trainable_variables)
        return model

    def _callbacks(self):
        head = self.model.head
        forest = [RebuildForest(head, REBUILD_EVERY)] if hasattr(getattr(head, "sampler", None), "rebuild") else []
        return forest + ([UpdatedRows(head)] if self.row.updated else [])

    def _batches(self, seed):
        """Each round over the images has a new order; strangers come in one of their own."""
        rng = np.random.default_rng(seed)
        images, labels = self.images, _shuffled(self.labels, self.row.noise, seed)
        order = _rounds(rng, len(images), self.steps, BATCH_SIZE)
        if self.row.strangers:
            other = len(images) + _rounds(rng, len(self.strangers), self.steps, self.row.strangers)
            images = np.concatenate([images, self.strangers])
            labels, order = np.append(labels, np.full(len(self.strangers), -1, np.int32)), np.hstack([order, other])
        images, labels = tf.constant(images), tf.constant(labels)
        return tf.data.Dataset.from_tensor_slices(order).map(
            lambda rows: (tf.gather(images, rows), tf.gather(labels, rows))
        )

    def _measure(self):
        images, labels = self.heldout
        embeddings, weights = _embed(self.model.encoder, images), self.model.head.get_class_weights()
        # Every fourth image: five of each character. With sub-centers, a class has no one weight.
        some, own = _embed(self.model.encoder, self.images[::4]), weights if len(weights) == self.classes else None
        training = evaluation.angle_statistics(some, self.labels[::4], own)
        other = evaluation.angle_statistics(embeddings, labels)
        found = (*(math.nan if angle is None else angle for angle in training), other.intra, other.inter)
        angles = dict(zip(_ANGLES, found, strict=True))
        return {
            "recall@1": 100 * evaluation.retrieve(embeddings, labels, recall_at=(1,)).recall_at[1],
            "TAR at FAR 1e-3": 100 * _tar(embeddings, labels, 1e-3),
            **{f"{name} (degrees)": angle for name, angle in angles.items()},
            "cosine std": evaluation.pairwise_cosines(weights).std,
        }


class UpdatedRows(keras.callbacks.Callback):
    """Gives the newest embeddings in the queue of BroadFace the class weights from after their step, not before it."""

    def __init__(self, head):
        super().__init__()
        self.head, self.queue = head, head.queue

    @tf.function
    def _update(self):
        pushed, size = self.queue.pushed.value, self.queue.size
        places = tf.range(pushed[0] - BATCH_SIZE, pushed[0])[:, None] % size
        rows = tf.gather_nd(self.queue.rows.value, places)
        self.queue.class_weights.value.scatter_nd_update(places, self.head.head.class_rows.fetch(rows))

    def on_train_batch_end(self, batch, logs=None):
        self._update()


def _copy(source, target):
    """Gives a model the weights, seeds and optimizer of another one, as if it were new."""
    for part in ("encoder", "head", "optimizer"):
        variables = (getattr(model, part).variables for model in (source, target))
        for value, variable in zip(*variables, strict=True):
            variable.assign(value)


def _rounds(rng, count, steps, batch_size):
    rounds = -(-steps * batch_size // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[: steps * batch_size].reshape(steps, -1)


def _shuffled(labels, share, seed):
    if not share:
        return labels
    items = [Item(str(number), str(label)) for number, label in enumerate(labels)]
    return np.array([int(item.identity) for item in shuffle_labels(items, share, seed)], np.int32)


def _embed(encoder, images):
    return np.concatenate(
        [encoder(images[start : start + 1000], training=False) for start in range(0, len(images), 1000)]
    )


def _tar(embeddings, labels, far):
    """TAR over all pairs of images."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs = np.triu_indices(len(unit), 1)
    scores, same = (unit @ unit.T)[pairs], labels[pairs[0]] == labels[pairs[1]]
    return evaluation.tar_at_far(scores[same], scores[~same], [far])[far].tar
