"""Formats of exports: each module holds a writer and the reader that embeds with what it wrote."""

import importlib
import types
from collections.abc import Callable

# Formats that are one file, by the suffix of its name: the module, whose writer has the module's name. Any other path
# is the folder of a SavedModel.
FILES = {".tflite": "tflite", ".onnx": "onnx"}


def file_format(suffix: str) -> types.ModuleType:
    """Returns the module of a suffix of `FILES`; `read(path, content)` in it makes the `Embedder` of a file's bytes."""
    return importlib.import_module(f"{__name__}.{FILES[suffix]}")


def writer(suffix: str) -> Callable[..., None]:
    """Returns the writer of a suffix of `FILES`: a function of an encoder, a path and the options of the format."""
    return getattr(file_format(suffix), FILES[suffix])
