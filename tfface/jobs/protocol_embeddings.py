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
from tfface.data.formats.left_out import summary
from tfface.data.protocols.pairs import match_names
from tfface.data.source_images import SourceImages
from tfface.evaluation.metrics.completeness import EXAMPLES, Completeness
from tfface.export.embedding.embedder import check_finite
from tfface.jobs.embedding import load_any_embedder
from tfface.protocols import Embedded, Images
from tfface.protocols.images import NO_LENGTHS, open_source, union

# (Width, height) of faces as they are distributed.
_ALIGNED = ((112, 112), (96, 112))


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of one place that all protocols need together.

    Attributes:
      images: the `Images`, joined.
      chosen: the `SourceImages` that are there and can be used.
      keys: keys of all images of the place.
      bad: dict from the key of an image that cannot be used to the reason.
      fingerprint: str, changes with the bytes of the images.
    """

    images: Images
    chosen: SourceImages
    keys: frozenset[str]
    bad: dict[str, str]
    fingerprint: str

    def missing(self, images: Images) -> dict[str, str]:
        """Returns the images of a protocol that are not there or cannot be used: dict from name to the reason."""
        if images.names is None:
            return self.bad
        found = zip(images.names, match_names(images.names, self.keys), strict=True)
        reasons = {name: "missing" if key is None else self.bad.get(key) for name, key in found}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def completeness(self, images: Images) -> Completeness:
        """Returns how many of the images of a protocol there are."""
        missing = list(self.missing(images))
        count = len(self.keys | self.bad.keys()) if images.names is None else len(images.names)
        return Completeness(count, len(missing), tuple(missing[:EXAMPLES]), "images")


def find_images(needed: Iterable[Images], skip_bad: bool) -> dict[tuple[str, str], ImageSet]:
    """Finds the images of protocols, without reading them.

    Args:
      needed: the `Images` of all protocols.
      skip_bad: whether to read and decode all of them, and count those as missing that cannot be used.

    Returns:
      dict from `Images.place` to the `ImageSet`.

    Raises:
      ValueError: a place has none of the images of a protocol, or cannot be read.
      OSError: a folder cannot be listed.
    """
    places: dict[tuple[str, str], list[Images]] = {}
    for images in needed:
        places.setdefault(images.place, []).append(images)
    return {place: _find(sets, skip_bad) for place, sets in places.items()}


def _find(sets, skip_bad):
    joined = union(sets)
    source = open_source(joined.root)
    items = {item.key: item for item in source.items()}
    if source.skipped and joined.names is None and not skip_bad:
        where, reason = source.skipped[0]
        raise ValueError(f"{joined.root}: {where}: {reason} (skip_bad leaves such images out).")
    wanted: dict[str, np.ndarray | None] = {}  # From key to landmarks.
    for images in sets:
        names = list(items) if images.names is None else images.names
        keys = match_names(names, items)
        if not any(key is not None for key in keys):
            like = f": the lists name images like {names[0]!r}, there are {sorted(items)[:1]}" if names else ""
            raise ValueError(f"{joined.root} has none of the {len(names)} images{like}.")
        for number, key in enumerate(keys):
            if key is not None:
                wanted.setdefault(key, None if images.landmarks is None else images.landmarks[number])
    keys = sorted(wanted)
    # Pictures that are no items, such as those of other formats, belong to a place of which all images are needed.
    bad = dict(source.skipped) if joined.names is None else {}

    def choose(keys):
        landmarks = None if joined.landmarks is None else np.stack([wanted[key] for key in keys])
        return SourceImages(source, [items[key] for key in keys], landmarks, joined.one_size)

    if skip_bad:
        with progress.bar(total=len(keys), desc="check images", unit=" images") as bar:
            for item, reason in choose(keys).check():
                bar.update()
                if reason is not None:
                    bad[item.key] = reason
        first, keys = keys[0], [key for key in keys if key not in bad]
        if not keys:
            raise ValueError(f"{joined.root}: none of its images can be used, such as {first}: {bad[first]}.")
    if bad or any(source.passed_over.values()):
        progress.note(f"{joined.root}: {summary(len(keys), bad.items(), source.passed_over)}.")
    return ImageSet(joined, choose(keys), frozenset(items), bad, source.fingerprint)


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
