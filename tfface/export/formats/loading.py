"""Embedders from exported files: SavedModel, TensorFlow Lite and ONNX."""

import functools
import os
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from tfface import files, progress
from tfface.export.card import card_files
from tfface.export.embedding.embedder import Embedder

# FlatBuffers and Protocol Buffers, the two formats, cannot be larger.
_MAX_BYTES = 2**31 - 1


def load_embedder(path: str | os.PathLike) -> Embedder:
    """Loads an export as an `Embedder`.

    Args:
      path: SavedModel folder, or file named `.tflite` or `.onnx`, that this package made. TensorFlow Lite files run in
        the package ai-edge-litert if it is installed, else in TensorFlow's own copy; ONNX files need onnxruntime. A
        SavedModel is a program, which may read and write files when it runs; one without a model card of this package
        is loaded with a warning on stderr.

    Raises:
      ValueError: `path` is not such a folder or file, or has other inputs or outputs, or its runtime is missing.
      OSError: the file cannot be read.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(f"{str(path)!r} does not exist.")
    load = _FILES.get(path.suffix)
    if load is None or path.is_dir():
        return _saved_model(path)
    # Read at once, not mapped by its name: a file that changes under a memory map would crash a running network.
    return load(path, files.read_regular(path, _MAX_BYTES))


def is_export(path: str | os.PathLike) -> bool:
    """Whether a path looks like something that `load_embedder` loads."""
    path = pathlib.Path(path)
    return (path / "saved_model.pb").is_file() or (path.suffix in _FILES and path.is_file())


def _saved_model(path):
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
    # `loaded` stays referenced: a signature alone does not keep the variables alive.
    return Embedder(lambda images, loaded=loaded: aligned(image=images)["embedding"], (height, width), embedding_dim)


@functools.cache  # One warning per folder.
def _warn_of_stranger(path):
    progress.note(
        f"Warning: SavedModel {str(path)!r} has no model card of tfface. A SavedModel is a program that can read and "
        "write files: load it only if you trust its maker."
    )


def _tflite(path, content):
    try:
        interpreter = _interpreter(content)
        signatures = interpreter.get_signature_list()
        run = interpreter.get_signature_runner("serving_default") if "serving_default" in signatures else None
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is not a TensorFlow Lite file that can be run ({error}).") from None
    if run is None:
        raise ValueError(f"{str(path)!r} has no signature 'serving_default', only {sorted(signatures)}.")
    ends = [
        {name: (np.dtype(end["dtype"]).name, end["shape_signature"].tolist()) for name, end in details.items()}
        for details in (run.get_input_details(), run.get_output_details())
    ]
    return _embedder(path, lambda images: run(image=images)["embedding"], *ends)


def _interpreter(content):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*LiteRT interpreter")
        return Interpreter(model_content=content)


def _onnx(path, content):
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{str(path)!r} needs the package onnxruntime: pip install 'tfface[onnx]'.") from None
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no narrower base class.
        raise ValueError(f"{str(path)!r} is not an ONNX file that can be run ({error}).") from None
    ends = [
        {end.name: (end.type, [side if isinstance(side, int) else -1 for side in end.shape]) for end in side}
        for side in (session.get_inputs(), session.get_outputs())
    ]
    channels_first = [sides for _, sides in ends[0].values() if sides[1:2] == [3] and sides[-1] != 3]
    for sides in channels_first:
        sides[1:] = *sides[2:], 3

    def run(images):
        return session.run(["embedding"], {"image": images.transpose(0, 3, 1, 2) if channels_first else images})[0]

    return _embedder(path, run, *ends)


def _embedder(path, run, inputs, outputs):
    """Makes the `Embedder` of a file from its inputs and outputs: {name: (type, sides, -1 where any)}."""
    match inputs, outputs:
        case {"image": (("float32" | "tensor(float)"), [-1, int(height), int(width), 3])}, {
            "embedding": (("float32" | "tensor(float)"), [-1, int(dim)])
        } if len(inputs) == len(outputs) == 1 and min(height, width, dim) > 0:
            pass
        case _:
            raise ValueError(
                f"{str(path)!r} must take float32 'image' [N, H, W, 3] and return float32 'embedding' [N, D], "
                f"got {inputs} -> {outputs}."
            )

    def embed(images):
        # Some runtimes refuse an empty batch.
        return tf.constant(run(images.numpy()) if len(images) else np.zeros([0, dim], np.float32))

    return Embedder(embed, (height, width), dim)


_FILES = {".tflite": _tflite, ".onnx": _onnx}
