"""A source of aligned faces, made from photographs with landmarks."""

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from tfface.data.formats.landmarks import landmarks_of
from tfface.data.images.alignment import (
    align,
    reference_landmarks,
    share_outside,
    similarity_transform,
    transform_points,
)
from tfface.data.images.decoding import ImageSize, check_image, decode_pixels, size_pair
from tfface.data.sources.base import Item, Source

# Shares of a face's pixels outside of its photograph: a bad face, and one to count. Photographs cut close to the face,
# such as those of CFP, have up to 0.6.
_MOST, _MANY = 0.75, 0.1


class AlignedSource(Source):
    """The faces of another source, aligned as they are read.

    An image keeps its key. It is stored as PNG if the key ends in `.png`, else as JPEG without chroma subsampling. The
    landmarks are transformed too; if some of the five are unknown, the aligned image has none. A photograph with a
    landmark outside of it, or with most of the face outside, is bad.

    Args:
      source: the `Source` of the photographs.
      landmarks: dict from key to x1, y1, ..., x5, y5 in pixels, NaN if unknown; default: those of the source.
        Photographs without landmarks are skipped.
      image_size: size of the faces, 112 or (112, 96).
      quality: JPEG quality.

    Raises:
      ValueError: for another size, or a quality outside [1, 100].
    """

    def __init__(
        self,
        source: Source,
        landmarks: Mapping[str, Sequence[float]] | None = None,
        image_size: ImageSize = 112,
        quality: int = 95,
    ):
        super().__init__()
        if not 1 <= quality <= 100:
            raise ValueError(f"`quality` must be in [1, 100], got {quality}.")
        self.location = source.location
        self._source = source
        self._landmarks = landmarks
        self._size = size_pair(image_size)
        self._reference = reference_landmarks(image_size)
        self._quality = quality
        self.cut_off: set[str] = set()

    def items(self) -> Iterator[Item]:
        """Yields the items of the source that can be aligned."""
        self.skipped.clear()
        moves = hashlib.sha256(repr((self._size, self._quality)).encode())
        for item in self._source.items():
            known = item.landmarks if self._landmarks is None else landmarks_of(item.key, self._landmarks)
            if known is None:
                self.skipped.append((self._source.where(item), "no landmarks"))
                continue
            points = np.reshape(known, (5, 2)).astype(np.float64)
            try:
                moved = transform_points(similarity_transform(points, self._reference), points)
            except ValueError as error:
                self.skipped.append((self._source.where(item), str(error)))
                continue
            moves.update(points.tobytes())
            landmarks = tuple(moved.ravel().tolist()) if np.isfinite(moved).all() else None
            # JSON, which places are written in, has no NaN.
            place = [item.place, [None if math.isnan(value) else value for value in points.ravel().tolist()]]
            yield Item(item.key, item.identity, place, landmarks)
        self.skipped.extend(self._source.skipped)
        self.passed_over = self._source.passed_over
        self.fingerprint = f"{self._source.fingerprint} {moves.hexdigest()}"

    def read(self, item: Item) -> bytes:
        """Returns the encoded aligned face of an item."""
        place, landmarks = item.place
        data = self._source.read(dataclasses.replace(item, place=place))
        size, points = check_image(data), np.reshape(np.array(landmarks, np.float64), (5, 2))  # None becomes NaN.
        self._check_places(item.key, points, size)
        face = align(decode_pixels(data).numpy(), points, self._size)
        buffer = io.BytesIO()
        if item.key.lower().endswith(".png"):
            Image.fromarray(face).save(buffer, "PNG")
        else:
            Image.fromarray(face).save(buffer, "JPEG", quality=self._quality, subsampling=0)
        return buffer.getvalue()

    def _check_places(self, key, points, size):
        """Raises ValueError for landmarks that cannot be those of a photograph of this (height, width)."""
        height, width = size
        outside = [f"({x:g}, {y:g})" for x, y in points if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5)]
        outside = [place for place in outside if "nan" not in place]
        if outside:
            raise ValueError(
                f"landmarks outside of the picture: {outside[0]} is not in {width} x {height} pixels; are they of "
                "another resolution?"
            )
        share = share_outside(points, size, self._size)
        if share > _MOST:
            raise ValueError(
                f"a face mostly outside of the picture: {100 * share:.0f} % of its pixels are not in {width} x "
                f"{height} pixels; are the landmarks of another resolution?"
            )
        if share > _MANY:
            self.cut_off.add(key)

    def where(self, item: Item) -> str:
        """Names an item as its source does."""
        return self._source.where(dataclasses.replace(item, place=item.place[0]))
