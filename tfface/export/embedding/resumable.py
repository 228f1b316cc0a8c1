"""Embedding a large dataset so that an interruption costs little and changes nothing."""

import json
import pathlib

from tfface import files, json_files
from tfface.export.embedding.embedder import check_dataset, concatenate, embed_batch
from tfface.export.embedding.files import load_embeddings, save_embeddings

_JOB_FILE = "job.json"
_MAX_JOB_BYTES = 1 << 20


def embed_resumably(embedder, dataset, folder, job, flip=False, batches_per_piece=64, advance=None):
    """Embeds a dataset as `embed_dataset` does, and keeps what is done in a folder, where a later call goes on.

    Batches of a continued call are those of an uninterrupted one, because the last bits of an embedding may depend on
    what else is in its batch. Batches that are done are read again but not embedded.

    Args:
      embedder, dataset, flip: as for `embed_dataset`; the dataset has the same order every time.
      folder: of the pieces; made if absent. Removing it, once the result is safe, is left to the caller.
      job: dict of JSON values that tells whether a folder is of the same work: model, images, size of batches, ...
      batches_per_piece: int, batches after which a piece is written.
      advance: function that is called with the number of images that have been embedded since its last call, or None.

    Returns:
      The `Embeddings`.

    Raises:
      ValueError: if the folder is of another job, or its pieces are damaged.
      OSError: if a piece cannot be read or written.
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
    """Makes the folder one of this job, or raises ValueError if it is of another."""
    path = folder / _JOB_FILE
    if not path.is_file():
        files.write_atomically(path, (json.dumps(job, indent=1, sort_keys=True) + "\n").encode())
        return
    try:
        found = json_files.read(path, {str: object}, _MAX_JOB_BYTES)
    except ValueError as error:
        raise ValueError(f"{error} Remove {folder} to begin again.") from None
    if found != job:
        raise ValueError(f"{folder} holds another job ({found}, not {job}): remove it to begin anew.")
