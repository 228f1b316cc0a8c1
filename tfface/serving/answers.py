"""Checks that a server's answer must pass before it is used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfface.serving.errors import ServerError

# JSON takes up to 40 bytes per number, because TensorFlow Serving puts each on an indented line of its own.
MAX_RESPONSE_BYTES = 1 << 26

# Covers float32 sums in another order; networks in half precision normalise in float32 too.
_TOLERANCE = 1e-3


def check_type(
    name: str, dtype: Any, shape: Sequence[int], expected_dtype: npt.DTypeLike, expected_shape: Sequence[int]
) -> None:
    """Raises ServerError unless an output has the expected type and shape.

    Args:
      name: str, name of the output.
      dtype: NumPy type, or for an unknown type a str that the message shows.
      shape: tuple of ints.
      expected_dtype, expected_shape: the expected type and shape.
    """
    if tuple(shape) != tuple(expected_shape) or dtype != expected_dtype:
        wanted = f"{list(expected_shape)} {np.dtype(expected_dtype)}"
        raise ServerError(f"output {name!r} must be {wanted}, got {list(shape)} {dtype}")


def check_embeddings(vectors: np.ndarray) -> None:
    """Raises ServerError unless every row has unit length, or is zero, as a network's output may be.

    Args:
      vectors: float32 [N, D].
    """
    # In double precision, where squares of large floats do not overflow.
    lengths = np.sqrt(np.sum(np.square(vectors, dtype=np.float64), axis=1))
    # Negated, so that NaN is refused too.
    wrong = ~((np.abs(lengths - 1) <= _TOLERANCE) | (lengths == 0))
    if wrong.any():
        raise ServerError(f"embeddings must be finite and of unit length, got the length {lengths[wrong][0]:.6g}")


def check_comparisons(similarity: np.ndarray, same: np.ndarray | None, threshold: np.ndarray | None) -> None:
    """Raises ServerError unless similarities are cosines, and decisions follow from one finite threshold.

    Args:
      similarity: float32 [N].
      same: bool [N], or None.
      threshold: float32 [N], or None.
    """
    wrong = ~(np.abs(similarity) <= 1 + _TOLERANCE)
    if wrong.any():
        raise ServerError(f"similarities must be cosines, got {similarity[wrong][0]:.6g}")
    if threshold is not None and not (np.isfinite(threshold).all() and (threshold == threshold[:1]).all()):
        raise ServerError(f"there must be one finite threshold, got {np.unique(threshold).tolist()[:5]}")
    if same is not None and threshold is not None and (same != (similarity >= threshold)).any():
        raise ServerError("its decisions do not follow from its threshold")
