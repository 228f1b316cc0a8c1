"""The pieces of an embedding: a fixed range of images each, which any process or machine can embed on its own."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfface import data, files, json_files
from tfface.data.checked_records import BadRecord
from tfface.export.embedding.embedder import Embedder, concatenate, embed_batch
from tfface.export.embedding.files import save_embeddings
from tfface.json_files import COUNT, POSITIVE

BATCHES_PER_PIECE = 64

_RECORDS = {
    "shards": [str],
    "counts": [COUNT],
    "bad": [{"shard": str, "number": COUNT, "offset": COUNT, "reason": str, "key": object, "rest_lost": bool}],
    "good": {str: [COUNT]},
}
_FOLDER = {"root": str, "keys": [str]}
_PLAN = {
    "start": COUNT,
    "stop": POSITIVE,
    "batch_size": POSITIVE,
    "flip": bool,
    json_files.Optional("records"): _RECORDS,
    json_files.Optional("folder"): _FOLDER,
}


def piece_path(folder: str | os.PathLike, number: int) -> pathlib.Path:
    """Returns the path of a finished piece, from 0, in the folder of an unfinished embedding."""
    return pathlib.Path(folder) / f"piece-{number:06d}.npz"


@dataclasses.dataclass(frozen=True)
class PiecePlan:
    """The images of one piece, and how they are embedded.

    Args:
      images: the `Records` or the `ImageFolder` that hold them.
      start, stop: int, the range of them.
      batch_size: int, images per batch.
      flip: bool, add the embedding of the flipped image.
    """

    images: data.Records | data.ImageFolder
    start: int
    stop: int
    batch_size: int
    flip: bool

    def write(self, embedder: Embedder, path: str | os.PathLike) -> None:
        """Embeds the images and writes the piece.

        Raises:
          ValueError: an image is damaged, or its embedding is not finite; the message names it.
          OSError: a file cannot be written.
        """
        batches = image_batches(self.images, self.batch_size, embedder.image_size, self.start, self.stop)
        records, folder = (self.images, None) if isinstance(self.images, data.Records) else (None, self.images)
        with data.naming_bad_records(records), data.naming_bad_files(folder):
            parts = [embed_batch(embedder, batch, self.flip) for batch in batches]
        save_embeddings(path, concatenate(parts, embedder.embedding_dim, "label" in batches.element_spec))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the plan into a file that `load_plan` reads on any machine that sees the images under their path."""
        images: dict[str, Any]
        if isinstance(self.images, data.Records):
            found = {name: value for name, value in dataclasses.asdict(self.images).items() if name in _RECORDS}
            shards = {shard: os.path.abspath(shard) for shard in self.images.shards}
            found["shards"] = list(shards.values())
            found["good"] = {shards[shard]: offsets for shard, offsets in self.images.good.items()}
            found["bad"] = [{**bad, "shard": shards[bad["shard"]]} for bad in found["bad"]]
            images = {"records": found}
        else:
            images = {"folder": {"root": os.path.abspath(self.images.root), "keys": list(self.images.keys)}}
        plan = {name: getattr(self, name) for name in ("start", "stop", "batch_size", "flip")}
        files.write_atomically(path, json.dumps({**plan, **images}).encode())


def load_plan(path: str | os.PathLike) -> PiecePlan:
    """Reads what `PiecePlan.save` wrote.

    Raises:
      ValueError: the file holds anything else.
      OSError: it cannot be read.
    """
    plan = json_files.read(path, _PLAN)
    records, folder = plan.pop("records", None), plan.pop("folder", None)
    if (records is None) == (folder is None):
        raise ValueError(f"{path}: expected records or a folder.")
    if folder is not None:
        return PiecePlan(data.ImageFolder(pathlib.Path(folder["root"]), tuple(folder["keys"])), **plan)
    bad = tuple(BadRecord(**record) for record in records["bad"])
    return PiecePlan(data.Records(tuple(records["shards"]), tuple(records["counts"]), bad, records["good"]), **plan)


def plan_pieces(
    images: data.Records | data.ImageFolder, batch_size: int, flip: bool, batches_per_piece: int = BATCHES_PER_PIECE
) -> Iterator[PiecePlan]:
    """Yields the plans of all pieces, in order; together they make the batches of one pass over all images.

    Args:
      images: what `data.open_records` or `data.open_folder` returned.
      batch_size: int, images per batch.
      flip: bool, add the embedding of the flipped image.
      batches_per_piece: int, number of batches in a piece.
    """
    count, length = image_count(images), batch_size * batches_per_piece
    for start in range(0, count, length):
        stop = min(start + length, count)
        if isinstance(images, data.Records):
            part, before = images.around(start, stop)
            yield PiecePlan(part, before, before + stop - start, batch_size, flip)
        else:
            some = dataclasses.replace(images, keys=images.keys[start:stop], bad=())
            yield PiecePlan(some, 0, stop - start, batch_size, flip)


def image_count(images: data.Records | data.ImageFolder) -> int:
    """Returns the number of images to read."""
    return sum(images.counts) if isinstance(images, data.Records) else len(images.keys)


def image_batches(
    images: data.Records | data.ImageFolder,
    batch_size: int,
    image_size: tuple[int, int],
    start: int = 0,
    stop: int | None = None,
) -> tf.data.Dataset:
    """Builds one pass over the images `start` to `stop`, with `data.eval_dataset` or `data.folder_dataset`."""
    if isinstance(images, data.ImageFolder):
        return data.folder_dataset(images.root, images.keys[start:stop], batch_size, image_size)
    return data.eval_dataset(images, batch_size, image_size, start=start, stop=stop)
