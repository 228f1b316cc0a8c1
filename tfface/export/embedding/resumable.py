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
from tfface.export.embedding.pieces import BATCHES_PER_PIECE, piece_path

_JOB_FILE = "job.json"
_MAX_JOB_BYTES = 1 << 20


def embed_resumably(
    embedder: Embedder,
    dataset: tf.data.Dataset,
    folder: str | os.PathLike,
    job: Mapping[str, Any],
    flip: bool = False,
    batches_per_piece: int = BATCHES_PER_PIECE,
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
    claim(folder, job, flip, batches_per_piece)
    pieces = []
    while (path := piece_path(folder, len(pieces))).is_file():
        pieces.append(load_embeddings(path))
        advance(len(pieces[-1].keys))

    dim, labelled = embedder.embedding_dim, "label" in dataset.element_spec
    waiting = []

    def write():
        if waiting:
            piece = concatenate(waiting, dim, labelled)
            save_embeddings(piece_path(folder, len(pieces)), piece)
            pieces.append(piece)
            waiting.clear()

    done = len(pieces) * batches_per_piece
    # The dataset reads and decodes what it skips.
    for batch in [] if 0 <= dataset.cardinality() <= done else dataset.skip(done):
        waiting.append(embed_batch(embedder, batch, flip))
        advance(len(waiting[-1].keys))
        if len(waiting) == batches_per_piece:
            write()
    write()
    return concatenate(pieces, dim, labelled)


def claim(
    folder: str | os.PathLike, job: Mapping[str, Any], flip: bool, batches_per_piece: int = BATCHES_PER_PIECE
) -> None:
    """Makes a folder of pieces that of a job, with the arguments of `embed_resumably`.

    Raises:
      ValueError: the folder has pieces of another job.
      OSError: the folder cannot be written.
    """
    job = {**job, "flip": flip, "batches_per_piece": batches_per_piece}
    folder = pathlib.Path(folder)
    path = folder / _JOB_FILE
    # Without a piece nothing is lost: the job may have stopped at a bad image, which another one leaves out.
    if not path.is_file() or not any(folder.glob("piece-*.npz")):
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
