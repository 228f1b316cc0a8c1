"""ONNX export of an encoder: aligned images in, unit-norm embeddings out."""

import os
import pathlib
from typing import Literal

import keras

from tfface import files
from tfface.export.embedding.embedder import Embedder, embedding_function
from tfface.export.formats.checked_embedder import checked_embedder


def onnx(
    encoder: keras.Model, path: str | os.PathLike, opset: int = 17, layout: Literal["nhwc", "nchw"] = "nhwc"
) -> None:
    """Writes the encoder, without any head, as an `.onnx` file.

    Its input is `image` ([N, H, W, 3], or [N, 3, H, W] with "nchw", float32 in [-1, 1], RGB), its output
    `embedding` ([N, D] float32, unit length).

    Args:
      encoder: functional or Sequential `keras.Model` from images [N, H, W, 3] to embeddings [N, D], with fixed H, W and
        D, that computes in float32. It runs in inference mode.
      path: `.onnx` file to write.
      opset: int, version of the ONNX operator set.
      layout: "nhwc", or "nchw" for runtimes that take the channels first, such as OpenCV and TensorRT.

    Raises:
      ValueError: the encoder has other inputs or outputs or another precision, the layout is unknown, tf2onnx does not
        know the opset, or the package tf2onnx is missing.
    """
    if layout not in ("nhwc", "nchw"):
        raise ValueError(f"`layout` must be 'nhwc' or 'nchw', got {layout!r}.")
    embed = embedding_function(encoder)
    try:
        import tf2onnx
    except ImportError:
        raise ValueError("export to ONNX needs the package tf2onnx: pip install 'tfface[onnx]'.") from None
    channels_first = ["image"] if layout == "nchw" else None
    model, _ = tf2onnx.convert.from_function(embed, embed.input_signature, opset=opset, inputs_as_nchw=channels_first)
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "N"  # The converter does not know that both share one size.
    files.write_atomically(path, model.SerializeToString())


def read(path: pathlib.Path, content: bytes) -> Embedder:
    """Makes the `Embedder` of a file's content.

    Raises:
      ValueError: the content is not such a network, or has other inputs or outputs; or onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{str(path)!r} needs the package onnxruntime: pip install 'tfface[onnx]'.") from None
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no narrower base class.
        raise ValueError(f"{str(path)!r} is not an ONNX file that can be run ({files.short_reason(error)}).") from None
    ends = [
        {end.name: (end.type, [side if isinstance(side, int) else -1 for side in end.shape]) for end in side}
        for side in (session.get_inputs(), session.get_outputs())
    ]
    channels_first = [sides for _, sides in ends[0].values() if sides[1:2] == [3] and sides[-1] != 3]
    for sides in channels_first:
        sides[1:] = *sides[2:], 3

    def run(images):
        return session.run(["embedding"], {"image": images.transpose(0, 3, 1, 2) if channels_first else images})[0]

    return checked_embedder(path, run, *ends)
