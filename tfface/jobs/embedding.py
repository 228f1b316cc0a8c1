"""Embeddings of images by any model: an export, a run folder or a `.keras` file."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Callable

from tfface import data, export, interrupts, ownership, progress
from tfface.config.build import load_encoder
from tfface.export.embedding.pieces import image_batches, image_count, plan_pieces
from tfface.export.embedding.resumable import claim
from tfface.jobs.image_folders import folder_labels, open_images
from tfface.jobs.provenance import images_sha256, model_sha256


def embed_images(
    model: str | os.PathLike,
    images: str | os.PathLike,
    output: str | os.PathLike | None = None,
    flip: bool = False,
    batch_size: int = 64,
    opened: data.Records | data.ImageFolder | None = None,
    write: Callable[..., None] | None = None,
) -> export.Embeddings:
    """Embeds records or a folder of images, with a progress bar.

    Args:
      model: export (SavedModel folder, `.tflite` or `.onnx` file), run folder or `.keras` file.
      images: records (dataset folder or glob), or a folder of images, root/identity/image.jpg.
      output: file to write (`.tfrecord`, or any other name for .npz), or None. An interrupted call leaves its pieces
        in the folder OUTPUT.partial; the same call continues from there, and writes the same bytes as an uninterrupted
        one.
      flip: bool, add the embedding of the flipped image.
      batch_size: int, images per batch.
      opened: the images as `open_images` opened them, such as without bad ones; default: all.
      write: what embeds them in place of this process, with the same result: a function made by
        `tfface.export.embedding.beam.piece_writer`. It needs an output.

    Returns:
      `Embeddings`; the labels of a folder number its identities by name.

    Raises:
      ValueError: the model or the images are not of that form, OUTPUT.partial belongs to another model or images, or
        there is a `write` but no output.
      OSError: a file cannot be read or written.
    """
    embedder = load_any_embedder(model)
    opened = open_images(images) if opened is None else opened
    if write is not None and output is None:
        raise ValueError("`write` needs an `output`: its pieces lie in the folder OUTPUT.partial.")
    folder, records = (opened, None) if isinstance(opened, data.ImageFolder) else (None, opened)
    dataset, count = image_batches(opened, batch_size, embedder.image_size), image_count(opened)
    pieces = pathlib.Path(f"{output}.partial")  # Only made if there is an output.
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress.bar(total=count, desc="embed", unit=" images"))
        stack.enter_context(data.naming_bad_records(records))
        stack.enter_context(data.naming_bad_files(folder))
        if output is None:
            embeddings = export.embed_dataset(embedder, dataset, flip, lambda batches: _counted(batches, bar))
        else:
            stack.enter_context(interrupts.remedy(f"the same command continues from {pieces}."))
            stack.enter_context(ownership.owned(pieces.parent, name=f".{pieces.name}.owner"))
            job = {"model": model_sha256(model), "images": images_sha256(images), "batch_size": batch_size}
            if opened.bad:
                job["left_out"] = list(map(str, opened.bad))
            if write is not None:
                claim(pieces, job, flip)
                load = functools.partial(load_any_embedder, os.path.abspath(model))
                write(load, os.path.abspath(pieces), plan_pieces(opened, batch_size, flip))
            embeddings = export.embed_resumably(embedder, dataset, pieces, job, flip, advance=bar.update)
        if folder is not None:
            embeddings = dataclasses.replace(embeddings, labels=folder_labels(embeddings.keys, folder.depth))
        if output is not None:
            export.save_embeddings(output, embeddings)
            shutil.rmtree(pieces)
    return embeddings


def load_any_embedder(model: str | os.PathLike) -> export.Embedder:
    """Loads an export (SavedModel folder, `.tflite` or `.onnx` file), a run folder or a `.keras` file as an `Embedder`.

    Raises:
      ValueError: it is none of these.
    """
    if export.is_export(model):
        return export.load_embedder(model)
    return export.encoder_embedder(load_encoder(model))


def _counted(batches, bar):
    for batch in batches:
        yield batch
        bar.update(len(batch["key"]))
