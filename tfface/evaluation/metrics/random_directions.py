"""Angles between uniformly random directions, a baseline for those of class weights and centres."""

import math

import numpy as np


def closest_pair_angle(count: int, dim: int) -> float:
    """Approximates the expected angle of the closest pair of random directions, for large counts.

    ArcFace calls it the expected nearest-neighbour separation. It is the smallest of all angles, so it falls with the
    square of the count; for random class weights, W-Inter of Table 3 would be `nearest_neighbour_angle`.

    Args:
      count: int n > 1, number of directions.
      dim: int d > 1, dimension of the space.

    Returns:
      Degrees, float. The formula is the limit of small angles; a result of tens of degrees is much too small.

    Raises:
      ValueError: `count` or `dim` is less than 2.

    Reference:
      Deng et al., ArcFace, arXiv 1801.07698, Equation 7.
    """
    _check(count, dim)
    log_density = math.lgamma(dim / 2) - math.log(2 * math.sqrt(math.pi) * (dim - 1)) - math.lgamma((dim - 1) / 2)
    exponent = -(2 * math.log(count) + log_density) / (dim - 1)
    return math.degrees(math.exp(exponent) * math.gamma(1 + 1 / (dim - 1)))


def nearest_neighbour_angle(count: int, dim: int) -> float:
    """Computes exactly the expected angle between a random direction and the nearest of the others.

    The angle t between two directions has the density sin(t)^(d-2); the nearest of n - 1 is farther than t with
    probability (1 - F(t))^(n-1), whose integral is the expectation.

    Args:
      count: int n > 1, number of directions.
      dim: int d > 1, dimension of the space.

    Returns:
      Degrees, float, to about six digits.

    Raises:
      ValueError: `count` or `dim` is less than 2.
    """
    _check(count, dim)
    angles = np.linspace(0, np.pi, 200_001)
    density = np.sin(angles) ** (dim - 2)
    within = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
    # log1p keeps the digits that matter: with millions of directions F is tiny where the nearest lies.
    with np.errstate(divide="ignore"):
        farther = np.exp((count - 1) * np.log1p(-within / within[-1]))
    return float(np.degrees(angles[1] * (farther.sum() - (farther[0] + farther[-1]) / 2)))


def _check(count, dim):
    if count < 2 or dim < 2:
        raise ValueError(f"`count` and `dim` must be at least 2, got {count} and {dim}.")
