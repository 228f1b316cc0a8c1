"""Images that protocols need, where they come from, and their embeddings."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tfface.data.formats.image_files import read_image_file
from tfface.data.protocols.pairs import match_names
from tfface.data.sources.base import Item, Source, file_state, upright
from tfface.data.sources.folders import find_images
from tfface.evaluation.metrics.completeness import EXAMPLES, Completeness

NO_LENGTHS = (
    "exports and files of embeddings have vectors of unit length: pooling with length='raw' needs a run folder or a "
    ".keras file."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """A set of images in one place.

    Args:
      root: folder of images, `.bin` file, or records (dataset folder or glob).
      names: the images in the lists of the protocol; None: all images of the place.
      landmarks: float [N, 5, 2], x and y in pixels, by which each named image is aligned; None: they are aligned.
      one_size: whether images of different sizes are a fault, as among aligned faces.
      apart: whether the embeddings of images are needed without those of flipped images in them.
      flipped: whether those of flipped images are needed apart, too.
      lengths: whether the lengths of embeddings are needed.
    """

    root: str | os.PathLike
    names: Sequence[str] | None
    landmarks: np.ndarray | None = None
    one_size: bool = True
    apart: bool = False
    flipped: bool = False
    lengths: bool = False

    @functools.cached_property
    def place(self) -> tuple[str, str]:
        """Location and alignment of the images; with its name, they identify an image."""
        landmarks = hashlib.sha256()
        if self.landmarks is not None:
            landmarks.update("\n".join(self.names or ()).encode())
            landmarks.update(np.ascontiguousarray(self.landmarks, np.float64).tobytes())
        return os.path.abspath(self.root), landmarks.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of a set of images.

    Args:
      keys: list of N str.
      image: float32 [N, D]; of unit length unless `raw`.
      flipped: float32 [N, D], embeddings of the flipped images where they are kept apart, or None.
      raw: whether embeddings have the lengths that the network gives them.
      flip: whether the flipped image counts where pooling does not say.
      identities: list of N str, or None where the place of the images names none.
    """

    keys: list[str]
    image: np.ndarray
    flipped: np.ndarray | None = None
    raw: bool = False
    flip: bool = False
    identities: list[str] | None = None

    @functools.cached_property
    def vectors(self) -> np.ndarray:
        """Float32 [N, D]: the embedding of each image in the form in which images are compared, of unit length."""
        unit = _unit(self.image) if self.raw else self.image
        return _unit(unit + _unit(self.flipped)) if self.flip and self.flipped is not None else unit

    def find(self, names: Sequence[str], noun: str = "images") -> tuple[np.ndarray, Completeness]:
        """Finds images by their names in a list, as `Pairs.restrict` does.

        Args:
          names: list of M str, all different.
          noun: what the completeness counts.

        Returns:
          (int64 [M], rows with -1 for an image that is absent; `Completeness`).
        """
        row = {key: number for number, key in enumerate(self.keys)}
        found = match_names(names, row)
        rows = np.array([-1 if key is None else row[key] for key in found], np.int64)
        absent = [name for name, key in zip(names, found, strict=True) if key is None]
        return rows, Completeness(len(rows), len(absent), tuple(absent[:EXAMPLES]), noun)


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


class ImageFiles(Source):
    """The images of a folder, at any depth, by their paths; the first folder names the identity.

    Args:
      root: the folder.
    """

    def __init__(self, root: str | os.PathLike):
        super().__init__()
        self.location = pathlib.Path(root)

    def items(self) -> Iterator[Item]:
        """Lists the images.

        Raises:
          OSError: the folder cannot be listed.
        """
        listing = find_images(self.location)
        self.skipped = listing.unreadable
        state = hashlib.sha256()
        for key in listing.keys:
            state.update(b"%d %d\n" % file_state(self.location / key))
            yield Item(key, unicodedata.normalize("NFC", key.rpartition("/")[0].split("/")[0]))
        self.fingerprint = state.hexdigest()

    def read(self, item: Item) -> bytes:
        """Returns the bytes of an image file, turned upright."""
        return upright(read_image_file(self.location / item.key))


def open_source(root: str | os.PathLike) -> Source:
    """Opens a place of images.

    Args:
      root: folder of images, `.bin` file, or records (dataset folder or glob).

    Raises:
      ValueError: there is nothing of that form.
    """
    # Imported here, because evaluating embeddings needs no TensorFlow.
    from tfface.data.records import DATASET_FILE
    from tfface.data.sources.insightface_bin import BinSource
    from tfface.data.sources.records_source import RecordsSource

    path = pathlib.Path(root)
    if path.is_dir() and not (path / DATASET_FILE).exists():
        return ImageFiles(path)
    return BinSource(path) if path.suffix == ".bin" else RecordsSource(os.fspath(root))


def union(sets: Iterable[Images]) -> Images:
    """Joins sets of one place: each image counts once, and what one of the sets needs is there for all.

    Args:
      sets: iterable of `Images` with the same `place`, at least one.
    """
    first, *others = sets
    for other in others:
        if first.landmarks is not None:
            names = first.names
        elif first.names is None or other.names is None:
            names = None
        else:
            names = list(dict.fromkeys([*first.names, *other.names]))
        needs = {name: getattr(first, name) or getattr(other, name) for name in ("apart", "flipped", "lengths")}
        first = Images(first.root, names, first.landmarks, first.one_size and other.one_size, **needs)
    return first
