"""The check of an export: loaded anew in a process of its own, it must give the embeddings of its network."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

from tfface import files, interrupts
from tfface.data.images.decoding import decode_image
from tfface.data.synthetic import rendering
from tfface.export.embedding.embedder import check_finite, unit_embeddings
from tfface.npz_files import read_npy

# Of components of unit vectors. A network of int8 is judged by the angle alone.
_LARGEST_DIFFERENCE = {None: 1e-4, "float16": 2e-3, "int8": np.inf}
_SMALLEST_COSINE = 0.99


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far the embeddings of an export are from those of its network.

    Attributes:
      images: int, how many were compared.
      largest_difference: float, between components of unit embeddings.
      smallest_cosine: float, between embeddings of one image.
    """

    images: int
    largest_difference: float
    smallest_cosine: float


def check_export(path, encoder, images=None, *, flip=False, quantize=None):
    """Loads an export in a fresh process and compares its embeddings with those of its network.

    Args:
      path: SavedModel folder, or `.tflite` or `.onnx` file, that `load_embedder` reads.
      encoder: the keras.Model that was exported.
      images: float32 [N, H, W, 3] in [-1, 1], or None for drawn faces.
      flip: bool, whether the export adds the embedding of the mirrored image.
      quantize: None, "float16" or "int8": the precision of the export. Components may differ by 1e-4, by 2e-3 with
        weights of float16, and by any amount with int8; the cosine must be at least 0.99.

    Returns:
      `Agreement`.

    Raises:
      ValueError: the export cannot be loaded, its embeddings differ by more, or those of the network are not finite.
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
    # Asked in this way, because NaN is neither below nor above.
    allowed = _LARGEST_DIFFERENCE[quantize]
    if not (agreement.largest_difference <= allowed and agreement.smallest_cosine >= _SMALLEST_COSINE):
        bounds = f"a cosine of at least {_SMALLEST_COSINE:g}"
        if np.isfinite(allowed):
            bounds = f"a difference of at most {allowed:g} and {bounds}"
        raise ValueError(
            f"embeddings of the export and of its network differ by up to {agreement.largest_difference:.2g}, with a "
            f"cosine down to {agreement.smallest_cosine:.6f}; it must have {bounds}."
        )
    return agreement


def probe_images(image_size, count=8):
    """Draws faces of different people: float32 [count, H, W, 3] in [-1, 1], the same every time."""
    faces = [rendering.render_face(seed=0, identity=identity, index=0)[0] for identity in range(count)]
    return np.stack([decode_image(tf.io.encode_png(face), image_size) for face in faces])


def _expected(encoder, images, flip):
    # On the CPU, as in the other process: TF32 of a GPU differs by more than an export may.
    with tf.device("CPU:0"):
        total = unit_embeddings(encoder, images).numpy().astype(np.float64)
        if flip:
            total += unit_embeddings(encoder, images[:, :, ::-1]).numpy()
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _embed_in_fresh_process(path, images):
    """What `python -m tfface.export` makes of images."""
    # The path of this process, because tfface may have been found by it alone. No GPU: this process may hold its
    # memory.
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
    """Returns the exit status of a child process and what it wrote to stderr; the child never outlives the call."""
    child = None
    try:
        # Held, because `subprocess.run` loses a child that it has started but does not know yet.
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
