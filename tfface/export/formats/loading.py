"""Embedders from exports, whatever their format."""

import os
import pathlib

from tfface import files
from tfface.export.embedding.embedder import Embedder
from tfface.export.formats import FILES, file_format, saved_model

# FlatBuffers and Protocol Buffers cannot be larger.
_MAX_BYTES = 2**31 - 1


def load_embedder(path: str | os.PathLike) -> Embedder:
    """Loads an export as an `Embedder`.

    Args:
      path: SavedModel folder, or file of one of the formats in `FILES`, that this package made. TensorFlow Lite files
        run in the package ai-edge-litert if it is installed, else in TensorFlow's own copy; ONNX files need
        onnxruntime. A SavedModel is a program, which may read and write files when it runs; one without a model card
        of this package is loaded with a warning on stderr.

    Raises:
      ValueError: `path` is not such a folder or file, or has other inputs or outputs, or its runtime is missing.
      OSError: the file cannot be read.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(f"{str(path)!r} does not exist.")
    if path.suffix not in FILES or path.is_dir():
        return saved_model.read(path)
    # Read at once, not mapped by its name: a file that changes under a memory map would crash a running network.
    return file_format(path.suffix).read(path, files.read_regular(path, _MAX_BYTES))


def is_export(path: str | os.PathLike) -> bool:
    """Whether a path looks like something that `load_embedder` loads."""
    path = pathlib.Path(path)
    return (path / "saved_model.pb").is_file() or (path.suffix in FILES and path.is_file())
