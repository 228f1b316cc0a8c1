"""Embedding of a large dataset that an interruption delays little and does not change."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfface import files, json_files
from tfface.export.embedding.embedder import Embedder, Embeddings, check_dataset, concatenate, embed_batch
from tfface.export.embedding.files import load_embeddings, save_embeddings

_JOB_FILE = "job.json"
_MAX_JOB_BYTES = 1 << 20


def embed_resumably(
    embedder: Embedder,
    dataset: tf.data.Dataset,
    folder: str | os.PathLike,
    job: Mapping[str, Any],
    flip: bool = False,
    batches_per_piece: int = 64,
    advance: Callable[[int], object] | None = None,
) -> Embeddings:
    """Embeds a dataset as `embed_dataset` does; a later call continues from the pieces in a folder.

    A resumed call forms the same batches as an uninterrupted one, because the last bits of an embedding may depend on
    the other images of its batch. Finished batches are read again but not embedded.

    Args:
      embedder: as for `embed_dataset`.
      dataset: as for `embed_dataset`; it has the same order every time.
      flip: as for `embed_dataset`.
      folder: folder of the pieces; made if absent. The caller removes it once the result is safe.
      job: dict of JSON values that identifies the work: model, images, batch size, ...
      batches_per_piece: int, number of batches in a piece.
      advance: function of the number of images embedded since its last call, or None.

    Returns:
      The `Embeddings`.

    Raises:
      ValueError: the folder belongs to another job, or a piece is damaged.
      OSError: a piece cannot be read or written.
    """
    check_dataset(dataset)
    folder, advance = pathlib.Path(folder), advance or (lambda images: None)
    _claim(folder, {**job, "flip": flip, "batches_per_piece": batches_per_piece})
    pieces = []
    while (path := _piece(folder, len(pieces))).is_file():
        pieces.append(load_embeddings(path))
        advance(len(pieces[-1].keys))

    dim, labelled = embedder.embedding_dim, "label" in dataset.element_spec
    waiting = []

    def write():
        if waiting:
            piece = concatenate(waiting, dim, labelled)
            save_embeddings(_piece(folder, len(pieces)), piece)
            pieces.append(piece)
            waiting.clear()

    for batch in dataset.skip(len(pieces) * batches_per_piece):
        waiting.append(embed_batch(embedder, batch, flip))
        advance(len(waiting[-1].keys))
        if len(waiting) == batches_per_piece:
            write()
    write()
    return concatenate(pieces, dim, labelled)


def _piece(folder, number):
    return folder / f"piece-{number:06d}.npz"


def _claim(folder, job):
    """Claims the folder for this job, or raises ValueError if it belongs to another."""
    path = folder / _JOB_FILE
    # Without a piece nothing is lost: the job may have stopped at a bad image, which another one leaves out.
    if not path.is_file() or not _piece(folder, 0).is_file():
        files.write_atomically(path, (json.dumps(job, indent=1, sort_keys=True) + "\n").encode())
        return
    try:
        found = json_files.read(path, {str: object}, _MAX_JOB_BYTES)
    except ValueError as error:
        raise ValueError(f"{error} Remove {folder} to begin again.") from None
    if found != job:
        other = sorted(name for name in {*found, *job} if found.get(name) != job.get(name))
        changes = "; ".join(f"{name} was {found.get(name)}, now {job.get(name)}"[:200] for name in other)
        raise ValueError(f"{folder} holds another job ({changes}): remove it to begin again.")
