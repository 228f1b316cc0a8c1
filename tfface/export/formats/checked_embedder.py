"""The `Embedder` of an exported file, whose inputs and outputs are checked."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfface.export.embedding.embedder import Embedder

# Name of an input or output -> (its type, its sides with -1 where any size is allowed).
Ends = dict[str, tuple[str, list[int]]]


def checked_embedder(
    path: str | os.PathLike, run: Callable[[np.ndarray], np.ndarray], inputs: Ends, outputs: Ends
) -> Embedder:
    """Makes the `Embedder` of a file.

    Args:
      path: of the file, for messages.
      run: function from images, float32 [N, H, W, 3] with N > 0, to unit embeddings, float32 [N, D].
      inputs: of the file: `image`, float32 [-1, H, W, 3].
      outputs: of the file: `embedding`, float32 [-1, D].

    Raises:
      ValueError: the file has other inputs or outputs.
    """
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
