"""Embeddings of the images that protocols need: each image once, and again where an interruption left off."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfface import export, progress
from tfface.config.build import load_encoder
from tfface.data.protocols.pairs import match_names
from tfface.data.source_images import SourceImages
from tfface.evaluation.metrics.completeness import EXAMPLES, Completeness
from tfface.export.embedding.embedder import check_finite
from tfface.jobs.embedding import load_any_embedder
from tfface.protocols import Embedded, Images, Protocol
from tfface.protocols.images import NO_LENGTHS, open_source, union

# (Width, height) of faces as they are distributed.
_ALIGNED = ((112, 112), (96, 112))


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of one place that all protocols need together.

    Attributes:
      images: the `Images`.
      chosen: the `SourceImages` that are there.
      missing: list of the names that are not, or of images that cannot be used.
      bad: dict from name to the reason, of the latter.
      fingerprint: str, changes with the bytes of the images.
    """

    images: Images
    chosen: SourceImages
    missing: list[str]
    bad: dict[str, str]
    fingerprint: str

    def completeness(self, images: Images) -> Completeness:
        """Returns how many of the images of a protocol there are."""
        missing = set(self.missing)
        absent = list(self.missing) if images.names is None else [name for name in images.names if name in missing]
        count = len(self.chosen.items) + len(absent) if images.names is None else len(images.names)
        return Completeness(count, len(absent), tuple(absent[:EXAMPLES]), "images")


def find_images(protocols: Iterable[Protocol], skip_bad: bool) -> dict[tuple[str, str], ImageSet]:
    """Finds the images of protocols, without reading them.

    Args:
      protocols: the protocols.
      skip_bad: whether to read and decode all of them, and count those as missing that cannot be used.

    Returns:
      dict from `Images.place` to the `ImageSet`.

    Raises:
      ValueError: a place has none of the images, or cannot be read.
      OSError: a folder cannot be listed.
    """
    places: dict[tuple[str, str], list[Images]] = {}
    for protocol in protocols:
        for images in protocol.images():
            places.setdefault(images.place, []).append(images)
    return {place: _find(union(sets), skip_bad) for place, sets in places.items()}


def _find(images, skip_bad):
    source = open_source(images.root)
    items = {item.key: item for item in source.items()}
    if source.skipped and not skip_bad:
        where, reason = source.skipped[0]
        raise ValueError(f"{images.root}: {where}: {reason} (skip_bad leaves such images out).")
    names = list(items) if images.names is None else list(images.names)
    keys = match_names(names, items)
    missing = [name for name, key in zip(names, keys, strict=True) if key is None]
    found = [number for number, key in enumerate(keys) if key is not None]
    if not found:
        like = f": the lists name images like {names[0]!r}, there are {sorted(items)[:1]}" if names else ""
        raise ValueError(f"{images.root} has none of the {len(names)} images{like}.")
    # Two names, with and without an extension, may be one image.
    found = sorted({keys[number]: number for number in reversed(found)}.values(), key=lambda number: keys[number])

    def choose(rows):
        landmarks = None if images.landmarks is None else images.landmarks[rows]
        return SourceImages(source, [items[keys[row]] for row in rows], landmarks, images.one_size)

    chosen, bad = choose(found), {}
    if skip_bad:
        with progress.bar(total=len(found), desc="check images", unit=" images") as bar:
            for row, (_, reason) in zip(found, chosen.check(), strict=True):
                bar.update()
                if reason is not None:
                    bad[names[row]] = reason
        if len(bad) == len(found):
            name, reason = next(iter(bad.items()))
            raise ValueError(f"{images.root}: none of its {len(found)} images can be used, such as {name}: {reason}.")
        chosen = choose([row for row in found if names[row] not in bad])
    return ImageSet(images, chosen, [*missing, *bad], bad, source.fingerprint)


class ProtocolEmbedder:
    """Embeds sets of images with one model.

    Args:
      model: export, run folder or `.keras` file.
      sha256: str, hash of the model.
      flip: whether to add the embedding of the flipped image where pooling does not say.
      folder: folder for unfinished work.
      batch_size: int, images per batch.
    """

    def __init__(
        self, model: str | os.PathLike, sha256: str, flip: bool, folder: str | os.PathLike, batch_size: int = 64
    ):
        self._encoder = None if export.is_export(model) else load_encoder(model)
        self._whole = load_any_embedder(model) if self._encoder is None else export.encoder_embedder(self._encoder)
        self._sha256, self._flip, self._batch_size = sha256, flip, batch_size
        self._folder = pathlib.Path(folder)

    def check(self, images: Images) -> None:
        """Raises ValueError if the model cannot give what images need."""
        if images.lengths and self._encoder is None:
            raise ValueError(NO_LENGTHS)

    def embed(self, found: ImageSet) -> Embedded:
        """Embeds a set; an interrupted call continues from the pieces in the folder, with the same bits.

        Raises:
          ValueError: an image cannot be used, or its embedding is not finite; the message names it.
          OSError: a file cannot be read or written.
        """
        chosen, apart = found.chosen, found.images.apart
        flipped = apart and (found.images.flipped or self._flip)
        embedder = self._apart(flipped) if apart else self._whole
        self._note_size(chosen)
        keys = [item.key for item in chosen.items]
        job = {
            "model": self._sha256,
            "images": _digest([found.fingerprint, *keys], chosen.landmarks),
            "batch_size": self._batch_size,
            "apart": apart,
            "flipped": flipped,
        }
        flip = self._flip and not apart
        folder = self._folder / _digest([json.dumps({**job, "flip": flip}, sort_keys=True)])[:16]
        dataset = chosen.dataset(self._batch_size, embedder.image_size)
        bar = progress.bar(total=len(keys), desc=f"embed {chosen.source.location}", unit=" images")
        with bar, chosen.naming_bad_images():
            vectors = export.embed_resumably(embedder, dataset, folder, job, flip, advance=bar.update).vectors
        image, flips = np.split(vectors, 2, axis=1) if flipped else (vectors, None)
        identities = [item.identity for item in chosen.items]
        raw = apart and self._encoder is not None
        return Embedded(keys, image, flips, raw, self._flip, identities if any(identities) else None)

    def _note_size(self, chosen):
        """Says so if faces that must be aligned have an unusual size."""
        height, width = self._whole.image_size
        size = chosen.size()
        if size is not None and size not in (*_ALIGNED, (width, height)):
            progress.note(
                f"{chosen.source.location}: images of {size[0]} x {size[1]} pixels are resized to {width} x {height}. "
                "Aligned faces usually have 112 x 112; photographs that are not aligned give wrong rates."
            )

    def _apart(self, flipped):
        """Returns an `Embedder` with the lengths of the network; each vector ends with that of the flipped image."""
        size, dim = self._whole.image_size, self._whole.embedding_dim
        embed = self._whole
        if self._encoder is not None:
            encoder, images = self._encoder, tf.TensorSpec([None, *size, 3], tf.float32)
            embed = tf.function(lambda x: tf.cast(encoder(x, training=False), tf.float32), input_signature=[images])

        def both(images):
            return tf.concat([embed(images), embed(images[:, :, ::-1])], axis=1)

        if flipped:
            return export.Embedder(both, size, 2 * dim)
        return self._whole if self._encoder is None else export.Embedder(embed, size, dim)


def embedded_from_file(embeddings: export.Embeddings, images: Images) -> Embedded:
    """Takes a set of images out of a file of embeddings.

    Raises:
      ValueError: it has none of the images.
    """
    keys = embeddings.keys
    if images.names is None:
        rows = list(range(len(keys)))
    else:
        row = {key: number for number, key in enumerate(keys)}
        found = match_names(images.names, row)
        rows = sorted({row[key] for key in found if key is not None})
        if not rows:
            raise ValueError(
                f"none of the {len(found)} images has an embedding: the lists name images like {images.names[0]!r}, "
                f"the file has {keys[:1]}."
            )
    check_finite(embeddings.vectors[rows], [keys[number] for number in rows])
    identities = None if embeddings.labels is None else [str(embeddings.labels[number]) for number in rows]
    return Embedded([keys[number] for number in rows], embeddings.vectors[rows], identities=identities)


def _digest(texts: Sequence[str], landmarks: np.ndarray | None = None) -> str:
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass"))
    if landmarks is not None:
        digest.update(np.ascontiguousarray(landmarks, np.float64).tobytes())
    return digest.hexdigest()
