"""The refinement of noisy labels of Omniglot or CFP: what is found, and what a model gains that is trained again."""

import io
import pathlib
from typing import NamedTuple

import keras
import numpy as np
import omniglot
import pandas as pd
import tensorflow as tf
from PIL import Image

from tfface import csv_files, evaluation, progress
from tfface.data.curation.refinement import refine
from tfface.data.curation.refinement_cases import KINDS, decided_table, find_cases
from tfface.data.sources.folders import FolderSource
from tfface.heads.arcface import ArcFace
from tfface.training.face_model import FaceModel

# Proposals are measured at both error rates, and applied at the last.
ERROR_RATES, FOLDS = (0.05, 0.2), 2
_COLUMNS = ["noise", "seed", "labels", "measure", "value"]


class Training(NamedTuple):
    """How a network is trained: of the head, scale and margin; whether images are flipped at random."""

    scale: float
    margin: float
    mirror: bool


CHARACTERS, FACES = Training(32.0, 0.3, mirror=False), Training(16.0, 0.2, mirror=True)


def load(path):
    """Reads Omniglot's archive, or the folder of CFP's aligned images, whose last 100 people are held out.

    Returns:
      (images and labels to train on, those held out, `Training`).
    """
    if pathlib.Path(path).suffix == ".zip":
        return *omniglot.load(path), CHARACTERS
    source, side = FolderSource(path), 32
    images, names = [], []
    for item in source.items():
        image = Image.open(io.BytesIO(source.read(item))).convert("L")
        images.append(np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / 127.5 - 1)
        names.append(item.identity)
    people, labels = np.unique(names, return_inverse=True)
    images, train = np.stack(images)[..., None], labels < len(people) - 100
    return (images[train], labels[train]), (images[~train], labels[~train]), FACES


def plant(person, noise, seed):
    """Plants noise: a tenth of the identities split in two, a tenth merged in pairs, and a share of labels shuffled.

    Returns:
      (labels, labels before the shuffle, set of split pairs of labels, set of labels of two people).
    """
    rng = np.random.default_rng(seed)
    count = int(person.max()) + 1
    order, some = rng.permutation(count), count // 10
    right, split = person.copy(), []
    for number, one in enumerate(order[:some]):
        images = rng.permutation(np.flatnonzero(person == one))
        right[images[len(images) // 2 :]] = count + number
        split.append((one, count + number))
    pairs = order[some : some + some // 2 * 2].reshape(-1, 2)
    for one, other in pairs:
        right[right == other] = one
    names, right = np.unique(right, return_inverse=True)
    split = {tuple(np.searchsorted(names, pair).tolist()) for pair in split}
    labels, chosen = right.copy(), rng.permutation(len(right))[: round(noise * len(right))]
    labels[chosen] = right[rng.permutation(chosen)]
    return labels, right, split, set(np.searchsorted(names, pairs[:, 0]).tolist())


def train(images, labels, seed, epochs, how):
    """Trains the small network of the Omniglot experiment with ArcFace as a `Training` says, and returns it."""
    keras.utils.set_random_seed(seed)
    labels = np.unique(labels, return_inverse=True)[1]
    encoder = omniglot.build_encoder(images.shape[1])
    model = FaceModel(encoder, ArcFace(int(labels.max()) + 1, scale=how.scale, margin=how.margin))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed)
    if how.mirror:
        # Drawn anew in every epoch, as the order is.
        batches = batches.map(lambda image, label: (tf.image.random_flip_left_right(image, seed=seed), label))
    batches = batches.batch(omniglot.BATCH_SIZE, drop_remainder=True).prefetch(2)
    model.fit(batches, epochs=epochs, verbose=0)
    keras.backend.clear_session()
    return encoder


def embed(encoder, images):
    """Embeds images: float32 [N, D]."""
    return encoder.predict(images, batch_size=500, verbose=0)


def recall(encoder, heldout):
    """Measures recall@1 of the held-out identities, in %."""
    return 100 * evaluation.retrieve(embed(encoder, heldout[0]), heldout[1], recall_at=(1,)).recall_at[1]


def measure(found, planted, person, error_rate):
    """Applies the proposals.

    Args:
      found: `Refinement`.
      planted: result of `plant`.
      person: int [N], the truth.
      error_rate: float.

    Returns:
      (labels after them, -1 where an image is dropped; dict from a measure to its value in %).
    """
    labels, right, split, merged = planted
    # Names that sort like the labels.
    names = [f"{number:05d}" for number in range(int(labels.max()) + 1)]
    keys = [f"{number:06d}" for number in range(len(labels))]
    cases = find_cases(found, keys, labels, names, error_rate)
    sure = {kind: [case for case in cases if case.kind == kind and case.error <= error_rate] for kind in KINDS}
    wrong = labels != right
    # Whom most images of a label show before the shuffle, and both people of a merged one.
    shown = [set(person[right == label].tolist()) for label in range(len(names))]
    images = [int(case.name) for kind in ("outlier", "moved") for case in sure[kind]]
    moved = [person[int(case.name)] in shown[int(case.proposal)] for case in sure["moved"]]
    pairs = [tuple(sorted((int(case.name), int(case.proposal)))) in split for case in sure["same"]]
    two = [int(case.name) in merged for case in sure["second"]]
    values = {
        "wrong labels, precision": _share(wrong[images]),
        "wrong labels, recall": _share(np.isin(np.flatnonzero(wrong), images)),
        "moved to the right identity": _share(moved),
        "wrong labels that are moved": 100 * len(moved) / max(wrong.sum(), 1),
        "two people, precision": _share(two),
        "two people, recall": 100 * sum(two) / len(merged),
        "one person, precision": _share(pairs),
        "one person, recall": 100 * sum(pairs) / len(split),
    }
    of = {key: names[label] for key, label in zip(keys, labels, strict=True)}
    refined = {key: new for key, new, *_ in decided_table(cases, of, error_rate)}
    after = [refined.get(key, old) for key, old in of.items()]
    number = {name: position for position, name in enumerate(sorted(set(after) - {""}))}
    return np.array([number.get(name, -1) for name in after]), values


def run(path, folder, noises=(5, 20, 40), seeds=3, epochs=8):
    """Runs all noises and seeds, and writes `results.csv`, a row a measure; what is in it is left alone."""
    training, heldout, how = load(path)
    results = pathlib.Path(folder) / "results.csv"
    rows = pd.read_csv(results).values.tolist() if results.is_file() else []
    done = {(int(noise), int(seed)) for noise, seed, labels, *_ in rows if labels == "refined, cross-fitted"}
    tasks = [(noise, seed) for seed in range(seeds) for noise in noises]
    for noise, seed in progress.bar(tasks, desc="refine", unit=" runs"):
        if (noise, seed) in done:
            continue
        rows = [row for row in rows if (int(row[0]), int(row[1])) != (noise, seed)]
        if not any((int(row[0]), int(row[1])) == (0, seed) for row in rows):
            clean = recall(train(*training, seed, epochs, how), heldout)
            rows.append([0, seed, "clean", "held-out recall@1", clean])
        rows += [[noise, seed, *row] for row in _run(training, heldout, how, noise, seed, epochs)]
        csv_files.write_table(results, _COLUMNS, ((*row[:4], f"{float(row[4]):.2f}") for row in rows))
    return pd.read_csv(results)


def _run(training, heldout, how, noise, seed, epochs):
    """Yields rows (labels, measure, value) of one noise and seed."""
    images, person = training
    planted = plant(person, noise / 100, seed)
    labels = planted[0]
    noisy = train(images, labels, seed, epochs, how)
    yield "noisy", "held-out recall@1", recall(noisy, heldout)
    fold = np.random.default_rng(seed).permutation(int(labels.max()) + 1) % FOLDS
    spaces = []
    for number in range(FOLDS):
        seen = fold[labels] != number
        spaces.append(embed(train(images[seen], labels[seen], seed, FOLDS * epochs, how), images))
    for name, arguments in (
        ("refined, one model", ([embed(noisy, images)], labels)),
        ("refined, cross-fitted", (spaces, labels, fold)),
    ):
        found = refine(*arguments)
        for rate in ERROR_RATES:
            after, values = measure(found, planted, person, rate)
            for measured, value in values.items():
                yield name, f"{measured}, error rate {rate:g}", value
        again = train(images[after >= 0], after[after >= 0], seed, epochs, how)
        yield name, "held-out recall@1", recall(again, heldout)


def table(results):
    """Returns a Markdown table of all measures, mean ± standard deviation over the seeds."""
    lines = [f"| labels | measure (%) | {_noises(results)} |"]
    noises = sorted(set(results.noise) - {0})
    lines.append("|---" * (2 + len(noises)) + "|")
    clean = results[results.noise == 0].value
    lines.append(f"| clean | held-out recall@1 | {' | '.join([_cell(clean)] * len(noises))} |")
    for (labels, name), group in results[results.noise > 0].groupby(["labels", "measure"], sort=False):
        cells = [_cell(group[group.noise == noise].value) for noise in noises]
        lines.append(f"| {labels} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _noises(results):
    return " | ".join(f"{noise} % shuffled" for noise in sorted(set(results.noise) - {0}))


def _cell(values):
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.mean():.1f}"


def _share(values):
    return 100 * float(np.mean(values)) if len(values) else float("nan")
