"""Image hashes: equal for the same file, and near each other for the same picture."""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfface import json_files
from tfface.data.images.decoding import check_image, open_image
from tfface.data.parallel import Run, map_in_threads, run_here
from tfface.data.sources.base import Item, Source
from tfface.progress import bar as progress_bar

_SIDE = 64
_DIGEST_BYTES, _WORDS = 16, 5
_PART = 1024  # Images per part of the work.
# A row is (key, identity, hashes) of a good image, or (place, reason) of a bad one.
_ROWS = [json_files.Either((str, str, str), (str, str))]


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


def hashes_of(data: bytes) -> str:
    """Returns both hashes of an image that `check_image` accepts, in hexadecimal, for `collect_hashes`."""
    digest = hashlib.sha256(data).digest()[:_DIGEST_BYTES]
    return (digest + perceptual_hash(data).astype(">u8").tobytes()).hex()


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


def hash_images(
    source: Source, *, workers: int | None = None, progress: bool = False, run: Run | None = None
) -> ImageHashes:
    """Hashes all images of a source; memory holds only the hashes and a few images.

    Args:
      source: a `tfface.data.sources.Source`.
      workers: number of threads; default: the number of processors.
      progress: whether to show a progress bar on stderr.
      run: what does the work, such as that of `tfface.data.beam_rows.rows_beside`; default: this process.

    Returns:
      `ImageHashes`, which also lists the bad images.
    """
    run = run or functools.partial(run_here, workers=workers)
    good, bad = [], []
    with progress_bar(desc=f"hash {source.location}", unit=" images", disable=not progress) as bar:
        # The fingerprint is complete when all items are listed.
        parts = run(
            functools.partial(_hasher, source),
            _parts(source),
            _ROWS,
            lambda: ["hash_images", str(source.location), source.fingerprint],
        )
        for row in itertools.chain.from_iterable(parts):
            bar.update()
            if len(row) == 2:
                bad.append(tuple(row))
            else:
                good.append(row)
    return collect_hashes(good, [*source.skipped, *bad])


def collect_hashes(rows: Sequence[tuple[str, str, str]], bad: list[tuple[str, str]]) -> ImageHashes:
    """Makes `ImageHashes` from rows (key, identity, `hashes_of` the image) and the list of bad images."""
    data = np.frombuffer(bytes.fromhex("".join(row[2] for row in rows)), np.uint8)
    data = data.reshape(len(rows), _DIGEST_BYTES + 8 * _WORDS)
    return ImageHashes(
        keys=[row[0] for row in rows],
        identities=[row[1] for row in rows],
        digests=data[:, :_DIGEST_BYTES].copy(),
        perceptual=data[:, _DIGEST_BYTES:].copy().view(">u8").astype(np.uint64),
        bad=bad,
    )


def _parts(source):
    """Yields lists of the fields of `Item`s."""
    items = map(dataclasses.astuple, source.items())
    while part := list(itertools.islice(items, _PART)):
        yield part


def _hasher(source):
    """Returns a function of a part that yields its rows."""

    def hash_image(item):
        try:
            data = source.read(item)
            check_image(data)
            return item.key, item.identity, hashes_of(data)
        except (OSError, ValueError) as error:
            return source.where(item), str(error)

    return lambda part, workers: map_in_threads(hash_image, itertools.starmap(Item, part), workers)
