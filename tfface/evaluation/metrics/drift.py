"""How far embeddings of the same images move while the encoder trains: BroadFace's Figure 5a."""

import numpy as np

from tfface.evaluation.metrics.angles import unit_rows


def embedding_drift(embeddings, class_weights=None):
    """Measures how far past embeddings lie from the newest ones of the same images, as mean cosine errors.

    Args:
      embeddings: float [T, N, D], the embeddings of N images at T successive moments; the last are the newest.
      class_weights: float [T, N, D], at each moment the weight of each image's class; past embeddings are then
        compensated by the movement of their class weight before they are compared.

    Returns:
      float64 [T], the mean over the images of 1 - cosine; the last is 0.

    Raises:
      ValueError: if shapes differ, or a vector is zero or not finite.

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


def compensate(embeddings, old_weights, new_weights):
    """Moves embeddings of the past along with the weights of their classes.

    Args:
      embeddings: float [N, D], as they were.
      old_weights: float [N, D], the weight of each one's class at that time.
      new_weights: float [N, D], the same weights now.

    Returns:
      float64 [N, D]: e + |e| / |W_old| (W_new - W_old).

    Raises:
      ValueError: if an old weight is zero or not finite.

    Reference:
      Kim et al., BroadFace, ECCV 2020, Equation 7.
    """
    embeddings, old, new = (np.asarray(array, np.float64) for array in (embeddings, old_weights, new_weights))
    lengths = np.linalg.norm(old, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("`old_weights` must be finite and not zero.")
    return embeddings + np.linalg.norm(embeddings, axis=1, keepdims=True) / lengths * (new - old)
