"""Exact t-SNE of some thousands of points."""

import numpy as np

_MOST_POINTS = 5000  # All pairs of points are held at once.
_SHARPEST = 1e100  # If more points than the perplexity are equal, no precision is enough.
_EXAGGERATION, _EXAGGERATED_STEPS = 12.0, 250


def tsne(points: np.ndarray, perplexity: float = 30.0, steps: int = 1000) -> np.ndarray:
    """Places points in the plane such that neighbours stay neighbours; the same points give the same picture.

    It starts from the two principal components.

    Args:
      points: float [N, D], N from 4 to 5,000.
      perplexity: float, effective number of neighbours, larger than 1; (N - 1) / 3 at most is used.
      steps: int, steps of gradient descent.

    Returns:
      float64 [N, 2].

    Raises:
      ValueError: a value is out of its range, or a point is not finite.

    Reference:
      van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9, 2008.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or not 4 <= len(points) <= _MOST_POINTS or not np.isfinite(points).all():
        raise ValueError(f"`points` must be finite [N, D] with N from 4 to {_MOST_POINTS}, got {points.shape}.")
    if not perplexity > 1 or steps < 1:
        raise ValueError(f"`perplexity` must be larger than 1 and `steps` at least 1, got {perplexity} and {steps}.")
    wanted = affinities(points, min(perplexity, max(1.01, (len(points) - 1) / 3)))
    centred = points - points.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(points), 2))
    places[:, : sizes.size] = (left * sizes)[:, :2]
    places *= 1e-4 / max(places.std(axis=0)[0], 1e-300)
    # The curvature falls with the number of points, and is this much larger while affinities are exaggerated.
    rate = len(points) / _EXAGGERATION / 4
    velocity, gains = np.zeros_like(places), np.ones_like(places)
    for step in range(steps):
        early = step < _EXAGGERATED_STEPS
        gradient = divergence_gradient(_EXAGGERATION * wanted if early else wanted, places)
        gains = np.maximum(np.where(np.sign(gradient) == np.sign(velocity), gains * 0.8, gains + 0.2), 0.01)
        velocity = (0.5 if early else 0.8) * velocity - rate * gains * gradient
        places = places + velocity
        places -= places.mean(axis=0)
    return places


def affinities(points: np.ndarray, perplexity: float) -> np.ndarray:
    """Returns the joint probabilities of pairs of points, float64 [N, N] with sum 1."""
    squares = _squared_distances(points)
    np.fill_diagonal(squares, np.inf)
    squares -= squares.min(axis=1, keepdims=True)
    precision, low, high = np.ones(len(points)), np.zeros(len(points)), np.full(len(points), np.inf)
    # Scaled to the distances of each point, so that few halvings are enough.
    precision /= np.maximum(np.median(squares, axis=1), 1 / _SHARPEST)
    for _ in range(100):
        weights = np.exp(-squares * precision[:, None])
        shares = weights / weights.sum(axis=1, keepdims=True)
        entropy = -np.sum(np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300)), 0), axis=1)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, precision, low), np.where(wide, high, precision)
        precision = np.minimum(np.where(np.isinf(high), precision * 2, (low + high) / 2), _SHARPEST)
    return (shares + shares.T) / (2 * len(points))


def divergence_gradient(wanted: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the gradient [N, 2] of the Kullback-Leibler divergence of the places from the affinities [N, N]."""
    kernel = 1 / (1 + _squared_distances(places))
    np.fill_diagonal(kernel, 0)
    forces = (wanted - kernel / kernel.sum()) * kernel
    return 4 * (forces.sum(axis=1)[:, None] * places - forces @ places)


def _squared_distances(points):
    lengths = np.einsum("nd,nd->n", points, points)
    return np.maximum(lengths[:, None] + lengths - 2 * points @ points.T, 0)
