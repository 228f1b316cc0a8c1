"""Verification of any model: an export, a run folder, or embeddings that exist already."""

import dataclasses
import functools
import hashlib
import os
import pathlib

import numpy as np

from tfface import data, evaluation, export, progress
from tfface.data import pair_lists
from tfface.training.build import load_encoder


def verify_model(model, images=None, protocol=(), max_pairs=6000, seed=0, flip=False, output="evaluation"):
    """Verifies a model on pairs of images and writes `results.json` and `report.png`.

    Args:
      model: SavedModel folder, run folder, `.keras` file, or `.npz` file of embeddings (then `images` is not used).
      images: records (dataset folder or glob), or a folder of images, root/identity/image.jpg.
      protocol: paths of official pair lists (see `pair_lists.read_pairs`), cut down to the images that there are; if
        there are none, pairs are drawn from the identities of the images.
      max_pairs: int, pairs drawn at most.
      seed: int, of the draw.
      flip: bool, add the embedding of the mirrored image.
      output: folder to write to.

    Returns:
      list of `VerificationResult`, one for each protocol.

    Raises:
      ValueError: the model, the images or a protocol are not of that form.
      OSError: a file cannot be read or written.
    """
    output = pathlib.Path(output)
    embeddings = _embeddings(model, images, flip)
    protocols = verification_pairs(embeddings, protocol, max_pairs, seed)
    results = [evaluation.verify(embeddings.vectors, embeddings.keys, pairs, name) for name, pairs in protocols.items()]
    context = {
        "model": str(model),
        "images": None if images is None else str(images),
        "flip": "sum of unit embeddings of image and mirror" if flip else False,
        "protocol": {str(path): _sha256(path) for path in protocol},
        "seed": seed,
    }
    evaluation.to_json(results, output / "results.json", context)
    evaluation.plot_report(results, output / "report.png", f"Verification of {model}")
    return results


def verification_pairs(embeddings, protocol, max_pairs, seed):
    """Returns {name: `Pairs`} of official pair lists, or of pairs drawn from labelled embeddings.

    Args:
      embeddings: `Embeddings`; only keys and labels matter.
      protocol: paths of official pair lists; restricted to the keys that there are.
      max_pairs: int, pairs drawn where there is no protocol; fewer where the images do not allow as many.
      seed: int, of the draw.

    Raises:
      ValueError: a list is malformed or shares no pair with the images, or the images do not allow any draw.
    """
    if protocol:
        return {
            pathlib.Path(os.path.abspath(path)).stem: pair_lists.read_pairs(path).restrict(embeddings.keys)[0]
            for path in protocol
        }
    if embeddings.labels is None:
        raise ValueError("pairs can only be drawn from embeddings with labels; these have none: give a protocol.")
    # Ten folds need twenty identities; a small album of one's own photos should still get an answer.
    for folds in (10, 5, 2):
        count = max_pairs // (2 * folds) * (2 * folds)
        while count:
            try:
                pairs = pair_lists.sample_pairs(embeddings.keys, embeddings.labels, count, seed, folds)
            except ValueError as error:
                reason = error
                count = count // 2 // (2 * folds) * (2 * folds)
            else:
                return {"held-out pairs": pairs}
    raise ValueError(f"no verification pairs can be drawn: {reason}")


def _embeddings(model, images, flip):
    model = pathlib.Path(model)
    if model.suffix == ".npz":
        return export.load_embeddings(model)
    if (model / "saved_model.pb").is_file():
        embedder = export.load_embedder(model)
    else:
        embedder = export.encoder_embedder(load_encoder(model))
    if not images:
        raise ValueError("the images to embed are missing: give records or a folder.")
    bar = functools.partial(progress.bar, desc="embedding", unit=" batches")
    if _is_image_folder(images):
        dataset = data.folder_dataset(images, image_size=embedder.image_size)
        embeddings = export.embed_dataset(embedder, dataset, flip, bar)
        identities = [key.split("/")[0] for key in embeddings.keys]
        return dataclasses.replace(embeddings, labels=np.unique(identities, return_inverse=True)[1].astype(np.int64))
    return export.embed_dataset(embedder, data.eval_dataset(images, 64, embedder.image_size), flip, bar)


def _is_image_folder(images):
    return os.path.isdir(images) and not os.path.exists(os.path.join(images, data.records.DATASET_FILE))


def _sha256(path):
    """Hash of a file, or of all files of a folder in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(pathlib.Path(path).rglob("*")) if os.path.isdir(path) else [pathlib.Path(path)]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
