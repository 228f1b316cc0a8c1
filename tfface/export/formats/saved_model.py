"""SavedModel export of an encoder: images or image bytes in, unit-norm embeddings out."""

import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfface import files, progress
from tfface.export.card import card_files, write_card
from tfface.export.embedding.embedder import Embedder
from tfface.export.formats import notices
from tfface.export.signatures import signatures
from tfface.export.warmup import write_warmup_requests


def saved_model(
    encoder: keras.Model,
    path: str | os.PathLike,
    *,
    flip: bool = False,
    threshold: float | None = None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Writes the encoder, without any head, as a SavedModel that TensorFlow's C++ loader can run.

    The SavedModel has four signatures, each for any number N of images, zero included:

    * `serving_default` takes `image_bytes` ([N] string: whole JPEG or PNG files of aligned faces, of any size and with
      any number of channels; their EXIF orientation is applied).
    * `aligned` takes `image` ([N, H, W, 3] float32 in [-1, 1], RGB).
    * `detect_free_align` takes `image_bytes` ([N] string: JPEG or PNG files of photographs) and `landmarks`
      ([N, 5, 2] float32, x and y in pixels of the upright photograph, whose EXIF orientation is applied, ordered as
      in `tfface.data.align`; NaN where a point is unknown). Faces are aligned at 112 x 112 or 112 x 96, whichever has
      the shape of the network's input, and resized to it as aligned pictures are. A network whose input has neither
      shape lacks this signature.
    * `compare` takes `first_bytes` and `second_bytes` ([N] string: as `serving_default` does), the images of N pairs.

    The first three return `embedding` ([N, D] float32, of unit length; all zeros where the encoder returns zeros),
    `compare` returns `similarity` ([N] float32, the cosine) and, if there is a threshold, `same` ([N] bool: the
    similarity is at least the threshold) and `threshold` ([N] float32). One undecodable image, or landmarks that fix no
    alignment, fails the whole request with an InvalidArgumentError.

    `assets.extra` holds the card and, if the package tensorflow-serving-api is installed, requests to every signature
    with which TensorFlow Serving can warm up. TensorFlow Serving looks for numbered versions inside a folder
    of the model's name, so `path` usually ends in a number: `exported/my_model/1`. The folder appears under its name
    only when it is complete.

    Args:
      encoder: functional or Sequential `keras.Model` from images [N, H, W, 3] to embeddings [N, D], with fixed H, W and
        D. It runs in inference mode; its own precision may be lower than float32.
      path: folder to make; parent folders are made as needed.
      flip: bool, whether every embedding is the normalised sum of the embeddings of the image and of its flip, as in
        `embed_dataset`.
      threshold: float, smallest similarity at which `compare` says that two images show one person, or None. It is
        valid only for the same `flip`.
      card: dict of JSON values that `write_card` writes, or None.

    Raises:
      ValueError: `path` exists, or the encoder has other inputs or outputs.
    """
    path = pathlib.Path(path)
    if path.exists():
        raise ValueError(f"cannot export to {str(path)!r}: the path exists already.")
    made = signatures(encoder, flip, threshold)

    # Not tf.saved_model.save, whose copy of a Keras 3 model loads in Python only: C++ does not find its variables.
    archive = keras.export.ExportArchive()
    for name, (function, inputs) in made.items():
        archive.add_endpoint(name, function, inputs)

    with files.replacing(path) as unfinished, notices.held_back():
        archive.write_out(str(unfinished), verbose=False)
        write_warmup_requests(unfinished, {name: inputs for name, (_, inputs) in made.items()})
        if card is not None:
            write_card(card, unfinished)


def read(path: pathlib.Path) -> Embedder:
    """Loads a SavedModel with the signature `aligned` as an `Embedder`.

    Raises:
      ValueError: `path` is not such a folder.
    """
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{str(path)!r} is not a SavedModel folder: it has no file saved_model.pb.")
    if not card_files(path)[0].is_file():
        _warn_of_stranger(path.resolve())
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # Damage surfaces as errors of TensorFlow, of its readers, or of Python.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise ValueError(f"SavedModel {str(path)!r} is damaged or not complete ({reason}).") from None
    if "aligned" not in loaded.signatures:
        raise ValueError(f"SavedModel {str(path)!r} has no signature 'aligned', only {sorted(loaded.signatures)}.")
    aligned = loaded.signatures["aligned"]
    match aligned.structured_input_signature[1], aligned.structured_outputs:
        case {"image": tf.TensorSpec(shape=images)}, {"embedding": tf.TensorSpec(shape=embeddings)}:
            (_, height, width, _), embedding_dim = images, embeddings[-1]
        case inputs, outputs:
            raise ValueError(
                f"SavedModel {str(path)!r}: its signature 'aligned' must take 'image' and return 'embedding', "
                f"got {sorted(inputs)} -> {sorted(outputs)}."
            )

    def embed(images, loaded=loaded):  # Stays referenced: a signature alone does not keep the variables alive.
        return aligned(image=images)["embedding"]

    return Embedder(embed, (height, width), embedding_dim)


@functools.cache  # One warning per folder.
def _warn_of_stranger(path):
    progress.note(
        f"Warning: SavedModel {str(path)!r} has no model card of tfface. A SavedModel is a program that can read and "
        "write files: load it only if you trust its maker."
    )
