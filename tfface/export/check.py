"""The check of an export: a fresh process loads it and must get the embeddings of its network."""

import dataclasses
import os
import subprocess
import sys
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfface import files, interrupts
from tfface.data.images.decoding import decode_image
from tfface.data.synthetic import rendering
from tfface.export.embedding.embedder import check_finite, unit_embeddings
from tfface.export.flip import embed_with_flip
from tfface.npz_files import read_npy

# Largest difference between components of unit vectors. An int8 network is judged by the angle alone.
_LARGEST_DIFFERENCE = {None: 1e-4, "float16": 2e-3, "int8": np.inf}
_SMALLEST_COSINE = 0.99


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Difference between the embeddings of an export and those of its network.

    Attributes:
      images: int, number of images compared.
      largest_difference: float, between components of unit embeddings.
      smallest_cosine: float, between the two embeddings of an image.
    """

    images: int
    largest_difference: float
    smallest_cosine: float


def check_export(
    path: str | os.PathLike,
    encoder: keras.Model,
    images: np.ndarray | None = None,
    *,
    flip: bool = False,
    quantize: Literal["float16", "int8"] | None = None,
) -> Agreement:
    """Loads an export in a fresh process and compares its embeddings with those of its network.

    Args:
      path: SavedModel folder, `.tflite` file or `.onnx` file that `load_embedder` reads.
      encoder: the keras.Model that was exported.
      images: float32 [N, H, W, 3] in [-1, 1], or None for rendered faces.
      flip: bool, whether the export adds the embedding of the flipped image.
      quantize: precision of the export. Components may differ by 1e-4, with float16 weights by 2e-3, with int8 by any
        amount; the cosine must be at least 0.99.

    Returns:
      `Agreement`.

    Raises:
      ValueError: the export cannot be loaded, its embeddings differ by more, or the network's are not finite.
    """
    images = probe_images(encoder.input_shape[1:3]) if images is None else images
    expected = _expected(encoder, images, flip)
    check_finite(expected, [f"face {number}" for number in range(len(images))])
    found = _embed_in_fresh_process(path, images)
    if found.shape != expected.shape:
        raise ValueError(f"the export gives embeddings {found.shape}, its network {expected.shape}.")
    agreement = Agreement(
        images=len(images),
        largest_difference=float(np.abs(found - expected).max()),
        smallest_cosine=float(np.sum(found * expected, axis=1).min()),
    )
    allowed = _LARGEST_DIFFERENCE[quantize]
    # Stated as what must hold, because a comparison with NaN is always false.
    if not (agreement.largest_difference <= allowed and agreement.smallest_cosine >= _SMALLEST_COSINE):
        bounds = f"a cosine of at least {_SMALLEST_COSINE:g}"
        if np.isfinite(allowed):
            bounds = f"a difference of at most {allowed:g} and {bounds}"
        raise ValueError(
            f"embeddings of the export and of its network differ by up to {agreement.largest_difference:.2g}, with a "
            f"cosine down to {agreement.smallest_cosine:.6f}; the export must have {bounds}."
        )
    return agreement


def probe_images(image_size: tuple[int, int], count: int = 8) -> np.ndarray:
    """Renders faces of different people, the same at every call: float32 [count, H, W, 3] in [-1, 1]."""
    faces = [rendering.render_face(seed=0, identity=identity, index=0)[0] for identity in range(count)]
    return np.stack([decode_image(tf.io.encode_png(face), image_size) for face in faces])


def _expected(encoder, images, flip):
    # On the CPU, as in the other process, because TF32 on a GPU differs by more than an export may.
    with tf.device("CPU:0"):
        return embed_with_flip(lambda batch: unit_embeddings(encoder, batch).numpy().astype(np.float64), images, flip)


def _embed_in_fresh_process(path, images):
    """Returns the embeddings that `python -m tfface.export` computes of images."""
    # The child gets this process's path, which may be the only way to find tfface, and no GPU, whose memory this
    # process may hold.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CUDA_VISIBLE_DEVICES": "-1"}
    with files.temporary_folder() as folder:
        inputs, outputs = (folder / name for name in ("images.npy", "embeddings.npy"))
        np.save(inputs, images)
        command = [sys.executable, "-m", "tfface.export", path, inputs, outputs]
        status, errors = _run(command, environment)
        if status:
            reason = errors.strip().splitlines()[-1:] or [f"exit status {status}"]
            raise ValueError(f"the export does not run in a fresh process: {reason[0]}")
        return read_npy(outputs)


def _run(command, environment):
    """Returns the exit status and the stderr of a child process, which never outlives the call."""
    child = None
    try:
        # Signals are held, because one between start and assignment would lose the child.
        with interrupts.held():
            child = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        _, errors = child.communicate()
        return child.returncode, errors
    finally:
        if child is not None:
            child.kill()
            child.wait()
