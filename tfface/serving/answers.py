"""What an answer must be before it is believed."""

import numpy as np

from tfface.serving.errors import ServerError

# Of JSON, up to 40 bytes a number: TensorFlow Serving puts each on an indented line of its own.
MAX_RESPONSE_BYTES = 1 << 26

# Of float32 sums in another order; weights in half precision are normalised in float32 too.
_TOLERANCE = 1e-3


def check_type(name, dtype, shape, expected_dtype, expected_shape):
    """Raises ServerError unless type and shape of an output are those expected.

    Args:
      name: str, of the output.
      dtype: str, for the message, or a NumPy type.
      shape: tuple of ints.
      expected_dtype, expected_shape: what they must be.
    """
    if tuple(shape) != tuple(expected_shape) or dtype != expected_dtype:
        wanted = f"{list(expected_shape)} {np.dtype(expected_dtype)}"
        raise ServerError(f"output {name!r} must be {wanted}, got {list(shape)} {dtype}")


def check_embeddings(vectors):
    """Raises ServerError unless every row is of unit length, or zero as a network's output may be.

    Args:
      vectors: float32 [N, D].
    """
    # In double precision, because squares of large floats would overflow to a warning.
    lengths = np.sqrt(np.sum(np.square(vectors, dtype=np.float64), axis=1))
    # Negated, so that NaN is refused too.
    wrong = ~((np.abs(lengths - 1) <= _TOLERANCE) | (lengths == 0))
    if wrong.any():
        raise ServerError(f"embeddings must be finite and of unit length, got the length {lengths[wrong][0]:.6g}")


def check_comparisons(similarity, same, threshold):
    """Raises ServerError unless similarities are cosines, and decisions are those of one finite threshold.

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
        raise ServerError("its decisions are not those of its threshold")
