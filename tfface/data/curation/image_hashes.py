"""Hashes of images: equal for the same file, and near each other for the same picture."""

import dataclasses
import functools
import hashlib
import io

import numpy as np
from PIL import Image

from tfface.data.images.decoding import check_image
from tfface.data.parallel import map_in_threads
from tfface.progress import bar as progress_bar

_SIDE = 64
_WORDS = 5


@dataclasses.dataclass(frozen=True)
class ImageHashes:
    """Hashes of N images.

    Args:
      keys, identities: N strings each.
      digests: uint8 [N, 16], of the encoded bytes.
      perceptual: uint64 [N, 5], of the pixels; see `perceptual_hash`.
      bad: (place, reason) of the images that could not be hashed.
    """

    keys: list
    identities: list
    digests: np.ndarray
    perceptual: np.ndarray
    bad: list


def digest(data):
    """Returns 16 bytes of the SHA-256 of encoded bytes."""
    return hashlib.sha256(data).digest()[:16]


def perceptual_hash(data):
    """Hashes the look of a picture: signs of its low frequencies, which survive scaling, recompression and light.

    The picture is made grey, 64 x 64 by means of areas, and transformed by DCT-II. The first word tells which of the
    frequencies 1 to 8 in x and y are above their median; aligned faces of different people come near each other in it.
    The other four do the same for the frequencies 1 to 16, and tell them apart.

    Args:
      data: bytes of a JPEG or PNG file that `check_image` accepts.

    Returns:
      uint64 [5].
    """
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    basis = _cosines()
    # Rounded, or the hash of an empty picture would be that of its rounding errors.
    spectrum = np.round(basis @ grey @ basis.T, 3)
    bits = [block > np.median(block) for block in (spectrum[:8, :8].ravel(), spectrum.ravel())]
    return np.packbits(np.concatenate(bits)).view(">u8").astype(np.uint64)


@functools.cache
def _cosines():
    frequencies, places = np.arange(1, 17)[:, None], np.arange(_SIDE)
    return np.cos(np.pi * frequencies * (2 * places + 1) / (2 * _SIDE))


def hash_images(source, *, workers=None, progress=False):
    """Hashes all images of a source, in constant memory but for the hashes.

    Args:
      source: a `tfface.data.sources.Source`.
      workers: number of threads; default: the number of processors.
      progress: whether a progress bar is shown on stderr.

    Returns:
      `ImageHashes`; bad images are listed in it.
    """

    def of(item):
        try:
            data = source.read(item)
            check_image(data)
            return item, digest(data), perceptual_hash(data)
        except (OSError, ValueError) as error:
            return item, None, str(error)

    bad = []
    with progress_bar(desc=f"hash {source.location}", unit=" images", disable=not progress) as bar:
        good = []
        for item, found, look in map_in_threads(of, source.items(), workers):
            bar.update()
            if found is None:
                bad.append((source.where(item), look))
            else:
                good.append((item.key, item.identity, found, look))
    return collect_hashes(good, [*source.skipped, *bad])


def collect_hashes(rows, bad):
    """Makes `ImageHashes` of rows (key, identity, digest, perceptual hash) and the list of bad images."""
    return ImageHashes(
        keys=[row[0] for row in rows],
        identities=[row[1] for row in rows],
        digests=np.frombuffer(b"".join(row[2] for row in rows), np.uint8).reshape(-1, 16),
        perceptual=np.array([row[3] for row in rows], np.uint64).reshape(-1, _WORDS),
        bad=bad,
    )
