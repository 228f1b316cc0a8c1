"""Drift of the embeddings of the same images while the encoder trains: BroadFace's Figure 5a."""

import numpy as np

from tfface.evaluation.metrics.directions import row_lengths, unit_rows


def embedding_drift(embeddings: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
    """Measures the distance of past embeddings from the newest ones of the same images, as mean cosine errors.

    Args:
      embeddings: float [T, N, D], the embeddings of N images at T successive moments, the newest last.
      class_weights: float [T, N, D], the weight of each image's class at each moment, or None. With them, `compensate`
        moves past embeddings before the comparison.

    Returns:
      float64 [T], the mean over the images of 1 - cosine; the last is 0.

    Raises:
      ValueError: shapes differ, or a vector is zero or not finite.

    Reference:
      Kim et al., BroadFace, ECCV 2020, Figure 5a; the compensation is Equation 7.
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 3 or not embeddings.size:
        raise ValueError(f"`embeddings` must be [T, N, D], got {embeddings.shape}.")
    if class_weights is not None:
        class_weights = np.asarray(class_weights)
        if class_weights.shape != embeddings.shape:
            raise ValueError(f"`class_weights` must be {embeddings.shape}, got {class_weights.shape}.")
    newest = unit_rows(embeddings[-1], "embeddings")
    errors = []
    for moment, past in enumerate(embeddings):
        if class_weights is not None:
            past = compensate(past, class_weights[moment], class_weights[-1])
        errors.append(np.mean(1 - np.einsum("nd,nd->n", unit_rows(past, "embeddings"), newest)))
    return np.array(errors)


def compensate(embeddings: np.ndarray, old_weights: np.ndarray, new_weights: np.ndarray) -> np.ndarray:
    """Moves past embeddings along with the weights of their classes.

    Args:
      embeddings: float [N, D], past embeddings.
      old_weights: float [N, D], the weight of each embedding's class at that time.
      new_weights: float [N, D], the same weights now.

    Returns:
      float64 [N, D]: e + |e| / |W_old| (W_new - W_old).

    Raises:
      ValueError: an old weight is zero or not finite.

    Reference:
      Kim et al., BroadFace, ECCV 2020, Equation 7.
    """
    embeddings, old, new = (np.asarray(array, np.float64) for array in (embeddings, old_weights, new_weights))
    lengths = row_lengths(old, "old_weights")
    return embeddings + np.linalg.norm(embeddings, axis=1, keepdims=True) / lengths * (new - old)
