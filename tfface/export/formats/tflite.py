"""TensorFlow Lite export of an encoder: aligned images in, unit-norm embeddings out."""

import os
import pathlib
import warnings
from collections.abc import Iterable
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfface import files
from tfface.export.embedding.embedder import Embedder, embedding_function, leaf_layers
from tfface.export.formats import notices
from tfface.export.formats.checked_embedder import checked_embedder

# Operations that int8 export leaves in float: the final normalisation, whose result would have few bits in high
# dimensions, and the products of attention, which lose more than all other operations together.
_FLOAT = ["L2_NORMALIZATION", "BATCH_MATMUL"]
# Also left in float if a network rescales pixels itself, because pixels have only eight bits.
_FLOAT_RESCALING = ["MUL", "REVERSE_V2"]


def tflite(
    encoder: keras.Model,
    path: str | os.PathLike,
    quantize: Literal["float16", "int8"] | None = None,
    calibration: Iterable[np.ndarray] | None = None,
) -> None:
    """Writes the encoder, without any head, as a `.tflite` file.

    Its one signature, `serving_default`, takes `image` ([N, H, W, 3] float32 in [-1, 1], RGB) and returns `embedding`
    ([N, D] float32, of unit length), whatever the precision inside. N is 1 until the input is resized, as signature
    runners do automatically.

    Args:
      encoder: functional or Sequential `keras.Model` from images [N, H, W, 3] to embeddings [N, D], with fixed H, W and
        D, that computes in float32. It runs in inference mode.
      path: `.tflite` file to write.
      quantize: None; "float16", weights of half the size; or "int8", weights and activations of a quarter, in integer
        arithmetic except for the products of attention, a rescaling of pixels and the final normalisation.
      calibration: for "int8", iterable of float32 batches [n, H, W, 3] in [-1, 1], of images like those that will be
        embedded. A hundred images show the range of every activation.

    Raises:
      ValueError: the encoder has other inputs or outputs or another precision, `quantize` is not one of these, or
        "int8" and calibration are not given together.
    """
    if quantize not in (None, "float16", "int8"):
        raise ValueError(f"`quantize` must be None, 'float16' or 'int8', got {quantize!r}.")
    if (calibration is None) == (quantize == "int8"):
        if quantize == "int8":
            raise ValueError("'int8' needs `calibration`: batches of images like those that will be embedded.")
        raise ValueError(f"`calibration` belongs to 'int8', got it with {quantize!r}.")
    embed = embedding_function(encoder)
    # The converter finds variables by the attributes of a module, but not those inside a Keras 3 model.
    module = tf.Module()
    module.embed, module.variables_of_encoder = embed, [variable.value for variable in encoder.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([embed.get_concrete_function()], module)
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with notices.held_back():
        data = _quantized(converter, encoder, calibration) if quantize == "int8" else converter.convert()
    files.write_atomically(path, data)


def _quantized(converter, encoder, calibration):
    images = [image[None] for batch in calibration for image in _checked(batch, encoder.input_shape[1:])]
    if not images:
        raise ValueError("`calibration` holds no images.")
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    rescales = any(isinstance(layer, keras.layers.Rescaling) for layer in leaf_layers(encoder))
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=_FLOAT + _FLOAT_RESCALING if rescales else _FLOAT
    )
    # Despite its name, this debugger is the converter's only interface that leaves some operations in float.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*LiteRT interpreter")
        debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def _checked(batch, shape):
    batch = np.asarray(batch)
    # Decoded images have this range, up to the rounding of their resizing. Pixels from 0 to 255 would calibrate wrongly
    # without an error.
    if batch.shape[1:] != shape or batch.dtype != np.float32 or not np.all(np.abs(batch) <= 1 + 1e-5):
        raise ValueError(
            f"`calibration` must give float32 batches {['n', *shape]} in [-1, 1], got {batch.dtype} {batch.shape}"
            f"{f' from {batch.min()} to {batch.max()}' if batch.size else ''}."
        )
    return batch


def read(path: pathlib.Path, content: bytes) -> Embedder:
    """Makes the `Embedder` of a file's content.

    Raises:
      ValueError: the content is not such a network, or has other inputs or outputs.
    """
    try:
        interpreter = _interpreter(content)
        signatures = interpreter.get_signature_list()
        run = interpreter.get_signature_runner("serving_default") if "serving_default" in signatures else None
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{str(path)!r} is not a TensorFlow Lite file that can be run ({files.short_reason(error)})."
        ) from None
    if run is None:
        raise ValueError(f"{str(path)!r} has no signature 'serving_default', only {sorted(signatures)}.")
    ends = [
        {name: (np.dtype(end["dtype"]).name, end["shape_signature"].tolist()) for name, end in details.items()}
        for details in (run.get_input_details(), run.get_output_details())
    ]
    return checked_embedder(path, lambda images: run(image=images)["embedding"], *ends)


def _interpreter(content):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*LiteRT interpreter")
        return Interpreter(model_content=content)
