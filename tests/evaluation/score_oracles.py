"""Slow, independent counterparts of scores and rates, and embeddings whose scores tie or nearly tie."""

import math
from fractions import Fraction

import numpy as np


def exact_scores(left, right):
    """All scores by integer arithmetic: unit vectors in steps of 2^-26, products in steps of 2^-52."""

    def integers(rows):
        lengths = [math.sqrt(math.fsum(x * x for x in row)) for row in np.asarray(rows, float).tolist()]
        steps = [[round(x / length * 2**26) for x in row] for row, length in zip(rows.tolist(), lengths, strict=True)]
        return np.array(steps, np.int64)

    return (integers(left) @ integers(right).T) / 2**52


def random_embeddings(rng, size, dim=3):
    """Embeddings of one of four kinds: few directions, all equal, differing in the last digits, continuous."""
    kind = rng.integers(4)
    if kind == 0:
        rows = rng.integers(-1, 2, (size, dim))
        rows[~rows.any(axis=1), 0] = 1
        return rows * rng.choice([0.5, 1, 4], (size, 1))
    if kind == 1:
        return np.tile(rng.normal(size=dim), (size, 1))
    if kind == 2:
        return rng.normal(size=dim) + rng.choice([2e-7, 5e-4, 2e-3]) * rng.integers(-3, 4, (size, dim))
    return rng.normal(size=(size, dim)).astype(np.float32)


def noisy_product(rng, share=0.9):
    """A product with the largest error that a float32 product may have."""

    def product(left, right):
        dim = left.shape[1]
        # The part of the bound (dim + sqrt(dim) + 8) 2^-24 that the rounding of the vectors leaves.
        room = share * dim * 2.0**-24
        exact = left.astype(float) @ right.T.astype(float)
        return (exact + rng.uniform(-room, room, exact.shape)).astype(np.float32)

    return product


def operating_point(genuine, impostor, far):
    """Returns (TAR, threshold, measured FAR) by a trial of every threshold; None if the FAR cannot be measured."""
    if far < 1 / len(impostor):
        return None
    for threshold in [*sorted({*genuine, *impostor}), math.inf]:
        accepted = Fraction(sum(score >= threshold for score in impostor), len(impostor))
        if float(accepted) <= far:
            tar = Fraction(sum(score >= threshold for score in genuine), len(genuine))
            return float(tar), threshold, float(accepted)
    raise AssertionError("infinity refuses everybody")


def agrees(point, expected):
    return np.isnan(point).all() if expected is None else tuple(point) == expected
