"""Chosen images of any source as network input, aligned on the way if their landmarks are known."""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfface.data.images.alignment import align_image, reference_landmarks, similarity_transform
from tfface.data.images.decoding import (
    MAX_PIXELS,
    ImageSize,
    check_image,
    decode_image,
    network_input,
    open_image,
    size_pair,
)
from tfface.data.parallel import map_in_threads
from tfface.data.sources.base import Item, Source


@dataclasses.dataclass(frozen=True, eq=False)
class SourceImages:
    """Images of a source.

    Args:
      source: the `Source`.
      items: the `Item`s, in order, at least one.
      landmarks: float [N, 5, 2], x and y in pixels of the upright image, by which each image is aligned; None: they are
        taken whole.
      one_size: whether all images must have the size of the first.
    """

    source: Source
    items: Sequence[Item]
    landmarks: np.ndarray | None = None
    one_size: bool = False

    def dataset(self, batch_size: int = 64, image_size: ImageSize = 112) -> tf.data.Dataset:
        """Builds one pass over the images in order, with the preprocessing of `eval_dataset`.

        Iterate within `naming_bad_images`, because TensorFlow's errors do not name the image.

        Args:
          batch_size: images per batch B; the last batch may be shorter.
          image_size: side S or (height, width) in pixels. A face is aligned to 112 x 112 (to 112 x 96 for a network of
            that form); any image of another size is resized.

        Returns:
          `tf.data.Dataset` of `{"image": float32 [B, S, S, 3] in [-1, 1], "key": string [B]}`.
        """
        height, width = size_pair(image_size)
        face = (112, 96) if 96 * height == 112 * width else (112, 112)
        spec = tf.TensorSpec([height, width, 3], tf.float32)

        def decode(data, points):
            if self.landmarks is None:
                return decode_image(data, (height, width))
            return network_input(align_image(data, points, face), (height, width))

        def batch(keys, data, points):
            decoded = tf.map_fn(lambda one: decode(*one), (data, points), fn_output_signature=spec)
            return {"image": decoded, "key": keys}

        signature = (tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.string), tf.TensorSpec([5, 2], tf.float64))
        dataset = tf.data.Dataset.from_generator(self._read_all, output_signature=signature).batch(batch_size)
        return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def size(self) -> tuple[int, int] | None:
        """Returns (width, height) of all images, by the first, where they must be equal; None: they may differ."""
        return self._size_of(self.items[0]) if self.one_size else None

    def check(self) -> Iterator[tuple[Item, str | None]]:
        """Yields (item, reason why it cannot be used, None for a good one) after decoding each image, in order.

        With `one_size` images must have the size of most of them.
        """
        size = self._common_size()

        def check(numbered):
            number, item = numbered
            try:
                self._read(number, item, size)
                check_image(self.source.read(item))
            except OSError as error:
                return item, error.strerror or str(error)
            except ValueError as error:
                return item, str(error)
            return item, None

        return map_in_threads(check, enumerate(self.items))

    @contextlib.contextmanager
    def naming_bad_images(self) -> Iterator[None]:
        """Context manager that names the bad image if iteration over the dataset fails inside its block.

        Raises:
          ValueError: an image cannot be used; the message names it and the reason.
        """
        try:
            yield
        except tf.errors.OpError as error:
            for item, reason in self.check():
                if reason is not None:
                    where = f"{self.source.location}: {self.source.where(item)}"
                    raise ValueError(f"{where}: {reason} (skip_bad leaves such images out).") from error
            raise

    def _read_all(self):
        size = self.size()
        return map_in_threads(lambda numbered: self._read(*numbered, size), enumerate(self.items))

    def _size_of(self, item):
        with contextlib.suppress(ValueError, OSError):
            return _size(self.source.read(item))
        return None

    def _common_size(self):
        """Returns the size of most images, where all must have it."""
        if not self.one_size:
            return None
        sizes = collections.Counter(map_in_threads(self._size_of, self.items))
        del sizes[None]
        return max(sizes, key=sizes.__getitem__, default=None)

    def _read(self, number, item, size):
        """Returns key, bytes and landmarks of an image whose header, size and landmarks can be used."""
        data = self.source.read(item)
        found = _size(data)
        if size is not None and found != size:
            raise ValueError(f"{found[0]} x {found[1]} pixels, but the others have {size[0]} x {size[1]}")
        if self.landmarks is None:
            return item.key, data, np.zeros([5, 2])
        similarity_transform(self.landmarks[number], reference_landmarks())
        return item.key, data, self.landmarks[number]


def _size(data):
    """Returns (width, height) of an encoded image by its header."""
    try:
        with open_image(data) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"more than {MAX_PIXELS // 10**6} megapixels")
            return image.size
    except ValueError:
        raise
    except Exception:  # Pillow raises many types for damaged files.
        check_image(data)  # Its message says what is wrong.
        raise
