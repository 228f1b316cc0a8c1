"""Image hashes: equal for the same file, and near each other for the same picture."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfface.data.images.decoding import check_image, open_image
from tfface.data.parallel import map_in_threads
from tfface.data.sources.base import Source
from tfface.progress import bar as progress_bar

_SIDE = 64
_WORDS = 5


@dataclasses.dataclass(frozen=True)
class ImageHashes:
    """Hashes of N images.

    Args:
      keys, identities: N strings each.
      digests: uint8 [N, 16], hashes of the encoded bytes.
      perceptual: uint64 [N, 5], hashes of the pixels; see `perceptual_hash`.
      bad: (place, reason) of the images that could not be hashed.
    """

    keys: list[str]
    identities: list[str]
    digests: np.ndarray
    perceptual: np.ndarray
    bad: list[tuple[str, str]]


def digest(data: bytes) -> bytes:
    """Returns the first 16 bytes of the SHA-256 of encoded bytes."""
    return hashlib.sha256(data).digest()[:16]


def perceptual_hash(data: bytes) -> np.ndarray:
    """Hashes the low frequencies of a picture, which survive scaling, recompression and changes of light.

    The picture is converted to grey, scaled to 64 x 64 by averaging areas, and transformed by DCT-II. The first word
    tells which of the frequencies 1 to 8 in x and y are above their median. Aligned faces of different people can be
    near each other in this word. The other four words do the same for the frequencies 1 to 16, and separate them.

    Args:
      data: bytes of a JPEG or PNG file that `check_image` accepts.

    Returns:
      uint64 [5].
    """
    with open_image(data) as image:
        grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    basis = _cosines()
    # Without rounding, the hash of an empty picture would consist of rounding errors.
    spectrum = np.round(basis @ grey @ basis.T, 3)
    bits = [block > np.median(block) for block in (spectrum[:8, :8].ravel(), spectrum.ravel())]
    return np.packbits(np.concatenate(bits)).view(">u8").astype(np.uint64)


@functools.cache
def _cosines():
    frequencies, places = np.arange(1, 17)[:, None], np.arange(_SIDE)
    return np.cos(np.pi * frequencies * (2 * places + 1) / (2 * _SIDE))


def hash_images(source: Source, *, workers: int | None = None, progress: bool = False) -> ImageHashes:
    """Hashes all images of a source; memory holds only the hashes and a few images.

    Args:
      source: a `tfface.data.sources.Source`.
      workers: number of threads; default: the number of processors.
      progress: whether to show a progress bar on stderr.

    Returns:
      `ImageHashes`, which also lists the bad images.
    """

    def hash_image(item):
        try:
            data = source.read(item)
            check_image(data)
            return item, digest(data), perceptual_hash(data)
        except (OSError, ValueError) as error:
            return item, None, str(error)

    bad = []
    with progress_bar(desc=f"hash {source.location}", unit=" images", disable=not progress) as bar:
        good = []
        for item, found, look in map_in_threads(hash_image, source.items(), workers):
            bar.update()
            if found is None:
                bad.append((source.where(item), look))
            else:
                good.append((item.key, item.identity, found, look))
    return collect_hashes(good, [*source.skipped, *bad])


def collect_hashes(rows: Sequence[tuple[str, str, bytes, np.ndarray]], bad: list[tuple[str, str]]) -> ImageHashes:
    """Makes `ImageHashes` from rows (key, identity, digest, perceptual hash) and the list of bad images."""
    return ImageHashes(
        keys=[row[0] for row in rows],
        identities=[row[1] for row in rows],
        digests=np.frombuffer(b"".join(row[2] for row in rows), np.uint8).reshape(-1, 16),
        perceptual=np.array([row[3] for row in rows], np.uint64).reshape(-1, _WORDS),
        bad=bad,
    )
