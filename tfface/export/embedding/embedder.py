"""Embeddings of single batches and of whole datasets."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfface.export.flip import embed_with_flip


@dataclasses.dataclass(frozen=True, repr=False)
class Embeddings:
    """Embeddings of N images, with their keys and labels.

    Attributes:
      vectors: [N, D] float32, finite and of unit length, or zero where the network's output is zero: such an image
        has similarity 0 to every other.
      keys: N strings, such as file names.
      labels: [N] int64 identities, or None where unknown.

    Raises:
      ValueError: a shape or dtype differs, or a vector is not finite; the message names the first keys.
    """

    vectors: np.ndarray
    keys: list[str]
    labels: np.ndarray | None = None

    def __post_init__(self):
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise ValueError(f"vectors must be [N, D] float32, got {self.vectors.shape} {self.vectors.dtype}.")
        if len(self.keys) != len(self.vectors):
            raise ValueError(f"there must be one key per vector, got {len(self.keys)} for {len(self.vectors)}.")
        if self.labels is not None and (self.labels.shape != (len(self.vectors),) or self.labels.dtype != np.int64):
            raise ValueError(
                f"labels must be [{len(self.vectors)}] int64, got {self.labels.shape} {self.labels.dtype}."
            )
        check_finite(self.vectors, self.keys)

    def __repr__(self) -> str:
        """Returns one line without the numbers."""
        labels = "" if self.labels is None else f" of {len(np.unique(self.labels))} identities"
        return f"Embeddings({len(self.keys)} images{labels}, {self.vectors.shape[1]} dimensions)"


class Embedder:
    """A network as a function from aligned images, NumPy or tensor, to unit embeddings in NumPy.

    Args:
      embed: function from images [N, H, W, 3] to a float32 tensor [N, D] of unit rows.
      image_size: (H, W), pixels.
      embedding_dim: int, D.
    """

    def __init__(
        self, embed: Callable[[tf.Tensor], tf.Tensor], image_size: tuple[int, int], embedding_dim: int
    ) -> None:
        self._embed = embed
        self.image_size = image_size
        self.embedding_dim = embedding_dim

    def __call__(self, images: np.ndarray | tf.Tensor) -> np.ndarray:
        """Embeds images.

        Args:
          images: float32 [N, H, W, 3], RGB in [-1, 1].

        Returns:
          NumPy float32 [N, D], of unit length.

        Raises:
          ValueError: the images have another shape or dtype.
        """
        images = tf.convert_to_tensor(images)
        # Not cast, because pixels from 0 to 255 would be embedded wrongly without an error.
        if images.shape[1:] != [*self.image_size, 3] or images.dtype != tf.float32:
            expected = ["N", *self.image_size, 3]
            raise ValueError(f"images must be {expected} float32, got {images.shape} {images.dtype.name}.")
        return self._embed(images).numpy()


def encoder_embedder(encoder: keras.Model) -> Embedder:
    """Makes an `Embedder` of a network in memory, which follows changes of the network's weights.

    Args:
      encoder: keras.Model from images [N, H, W, 3] to embeddings [N, D], with H and W fixed.
    """
    size = encoder.input_shape[1:3]
    # For any number of images, so that a last, shorter batch does not make another graph.
    images = tf.TensorSpec([None, *size, 3], tf.float32)
    embed = tf.function(lambda images: unit_embeddings(encoder, images), input_signature=[images])
    return Embedder(embed, size, encoder.output_shape[-1])


def unit_embeddings(encoder: keras.Model, images: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Returns the encoder's embeddings in inference mode, float32 [N, D] of unit length."""
    # In float32, because in half precision the square of 256 overflows.
    return tf.math.l2_normalize(tf.cast(encoder(images, training=False), tf.float32), axis=-1, epsilon=1e-12)


def embedding_function(encoder: keras.Model) -> tf.types.experimental.GenericFunction:
    """Makes a float32 graph from `image` to `embedding`, the input of converters to other formats.

    Args:
      encoder: keras.Model from images [N, H, W, 3] to embeddings [N, D], with H, W and D fixed.

    Returns:
      `tf.function` with one signature, from float32 images as above to a dict with `embedding`, float32 [N, D] of unit
      length.

    Raises:
      ValueError: the encoder has other inputs or outputs, or computes in another precision: one format lacks such
        operations, and another loses accuracy in them.
    """
    height, width = encoder_image_size(encoder)
    for layer in leaf_layers(encoder):
        if layer.compute_dtype != "float32":
            raise ValueError(
                f"encoder must compute in float32, got layer {layer.name!r} of {layer.compute_dtype}; load its weights "
                "into the same network, built under the dtype policy float32."
            )
    image = tf.TensorSpec([None, height, width, 3], tf.float32, "image")
    return tf.function(lambda image: {"embedding": unit_embeddings(encoder, image)}, input_signature=[image])


def encoder_image_size(encoder: keras.Model) -> tuple[int, int]:
    """Returns (H, W) of an encoder's input images.

    Raises:
      ValueError: the encoder is not a keras.Model from [None, H, W, 3] to [None, D] with H, W and D fixed.
    """
    # A subclassed model has no fixed shapes, hence no such attributes.
    inputs, outputs = getattr(encoder, "input_shape", None), getattr(encoder, "output_shape", None)
    match inputs, outputs:
        case (None, int(height), int(width), 3), (None, int()):
            return height, width
    raise ValueError(
        "encoder must be a functional or Sequential keras.Model from [None, H, W, 3] to [None, D], "
        f"with H, W and D fixed, got {encoder!r} with input shape {inputs} and output shape {outputs}. A network of "
        "grey images begins with tfface.backbones.Greyscale()."
    )


def leaf_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields the layers of a keras.Model and of the models within it."""
    for layer in model.layers:
        yield from leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]


def embed_dataset(
    embedder: Embedder,
    dataset: tf.data.Dataset,
    flip: bool = False,
    progress: Callable[[Iterable], Iterable] | None = None,
) -> Embeddings:
    """Embeds every image of a dataset, in the dataset's order.

    Args:
      embedder: an `Embedder`.
      dataset: `tf.data.Dataset` of batches, each a dict with `image` ([B, H, W, 3] float32 in [-1, 1]), `key` ([B]
        string) and, optionally, `label` ([B] integers).
      flip: bool, whether to add the embedding of the flipped image, as `tfface.export.flip` defines.
      progress: function around the iterable of batches that shows progress, such as `tqdm.tqdm`, or None.

    Returns:
      The `Embeddings`, with labels if the dataset has them.

    Raises:
      ValueError: the dataset's elements are not such dicts, or an embedding is not finite.
    """
    check_dataset(dataset)
    parts = [embed_batch(embedder, batch, flip) for batch in (progress(dataset) if progress else dataset)]
    return concatenate(parts, embedder.embedding_dim, "label" in dataset.element_spec)


def embed_batch(embedder: Embedder, batch: dict[str, tf.Tensor], flip: bool = False) -> Embeddings:
    """Embeds one batch of a dataset, with the arguments of `embed_dataset`."""
    vectors = embed_with_flip(embedder, batch["image"], flip)
    keys = [key.decode() for key in batch["key"].numpy().tolist()]
    return Embeddings(vectors, keys, batch["label"].numpy().astype(np.int64) if "label" in batch else None)


def check_dataset(dataset: tf.data.Dataset) -> None:
    """Raises ValueError unless `embed_dataset` can take the elements of a dataset."""
    spec = dataset.element_spec
    if not isinstance(spec, dict) or not {"image", "key"} <= spec.keys() or spec["image"].shape.rank != 4:
        raise ValueError(f"dataset must give batches with keys 'image' and 'key', got elements {spec}.")


def check_finite(vectors: np.ndarray, keys: Sequence[str]) -> None:
    """Raises ValueError, which names the first keys, unless all vectors [N, D] are finite."""
    wrong = [key for key, finite in zip(keys, np.isfinite(vectors).all(axis=1), strict=True) if not finite]
    if wrong:
        raise ValueError(
            f"embeddings of {len(wrong)} of {len(keys)} images are not finite, the first of {wrong[:3]}: the weights "
            "of the network are damaged, or its training diverged."
        )


def concatenate(parts: Iterable[Embeddings], embedding_dim: int, labelled: bool) -> Embeddings:
    """Joins `Embeddings`; if there are none, `embedding_dim` and `labelled` tell the form of the result."""
    vectors = [np.zeros([0, embedding_dim], np.float32), *(part.vectors for part in parts)]
    keys = [key for part in parts for key in part.keys]
    labels = np.concatenate([np.zeros([0], np.int64), *(part.labels for part in parts)]) if labelled else None
    return Embeddings(np.concatenate(vectors), keys, labels)
