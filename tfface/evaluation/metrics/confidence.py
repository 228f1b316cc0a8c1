"""Confidence intervals of rates: how far a rate would move with other people.

`wilson_interval` is for independent trials: the pairs of LFW View 2, or the searches of a probe set with one probe per
person. It keeps its coverage at rates near 0 and 1, where the normal approximation shrinks to the rate itself, and it
is narrower than the interval of Clopper and Pearson, which is never too short but often too long. In lists such as
those of IJB-B and IJB-C one person is in thousands of pairs, which rise and fall together. Wilson's interval is far too
narrow for them, and `bootstrap_tar_at_far` draws people instead of pairs. It also moves the threshold, whose own
uncertainty dominates if a FAR admits only a few impostors.
"""

import math
import statistics
from collections.abc import Iterable

import numpy as np

from tfface.evaluation.metrics.verification import allowed_impostors, checked_scores


def wilson_interval(rate: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds the probability behind a rate observed in independent trials.

    Args:
      rate: float in [0, 1], such as a TAR at a fixed threshold; NaN (not measurable) gives NaN bounds.
      trials: int, number of trials behind the rate, such as the number of genuine pairs.
      confidence: float in (0, 1).

    Returns:
      (low, high), floats in [0, 1] around the rate.

    Raises:
      ValueError: a value is out of its range.

    Reference:
      Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927; Brown, Cai and
      DasGupta, Interval Estimation for a Binomial Proportion, Statistical Science 16, 2001.
    """
    _check_confidence(confidence)
    if rate < 0 or rate > 1 or trials < 1:
        raise ValueError(f"`rate` must be in [0, 1] and `trials` at least 1, got {rate} and {trials}.")
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    reach = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / shrink
    # At 0 and 1, one bound is exactly the rate; rounding could miss it.
    return (0.0 if rate == 0 else centre - reach, 1.0 if rate == 1 else centre + reach)


def bootstrap_tar_at_far(
    genuine_scores: np.ndarray,
    genuine_people: np.ndarray,
    impostor_scores: np.ndarray,
    impostor_people: np.ndarray,
    fars: Iterable[float],
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[float, tuple[float, float]]:
    """Bounds the TAR at given FARs, for pairs that share people.

    Each draw takes as many people as there are, with replacement. A genuine pair of a person drawn m times counts m
    times, an impostor pair of people drawn m and n times counts m n times, and threshold and TAR are computed again.
    The interval holds the middle `confidence` of the draws' TARs.

    Args:
      genuine_scores: float [G].
      genuine_people: int or str [G], the person of every genuine pair.
      impostor_scores: float [I].
      impostor_people: int or str [I, 2], the two people of every impostor pair.
      fars: iterable of float in (0, 1].
      confidence: float in (0, 1).
      draws: int, number of draws.
      seed: int, seed of the draws; the same arguments give the same intervals.

    Returns:
      dict from FAR (float) to (low, high); NaN where the FAR cannot be measured.

    Raises:
      ValueError: a value is out of its range, shapes do not fit, or a score is not finite.

    Reference:
      Snijders and Borgatti, Non-Parametric Standard Errors and Tests for Network Statistics, Connections 22, 1999 (the
      vertex bootstrap); Bolle et al., Error Analysis of Pattern Recognition Systems: the Subsets Bootstrap, CVIU 93,
      2004.
    """
    _check_confidence(confidence)
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1, got {draws}.")
    genuine, impostor = (
        checked_scores(genuine_scores, "genuine_scores"),
        checked_scores(impostor_scores, "impostor_scores"),
    )
    genuine_people, impostor_people = np.asarray(genuine_people), np.asarray(impostor_people)
    if genuine_people.shape != genuine.shape or impostor_people.shape != (impostor.size, 2):
        raise ValueError(
            f"`genuine_people` must be [{genuine.size}] and `impostor_people` [{impostor.size}, 2], "
            f"got {genuine_people.shape} and {impostor_people.shape}."
        )
    people, numbers = np.unique(np.concatenate([genuine_people, impostor_people.ravel()]), return_inverse=True)
    owner, sides = numbers[: genuine.size], numbers[genuine.size :].reshape(-1, 2)
    # By falling score; group g holds the impostors of one score, and `ahead[g]` genuine pairs lie above it.
    order, impostor_order = np.argsort(-genuine), np.argsort(-impostor)
    owner, sides, genuine, impostor = owner[order], sides[impostor_order], genuine[order], impostor[impostor_order]
    ends = np.flatnonzero(np.append(impostor[1:] != impostor[:-1], True))
    ahead = np.append(np.searchsorted(-genuine, -impostor[ends], "left"), genuine.size)
    fars = [float(far) for far in fars]
    measurable = np.array([allowed_impostors(far, impostor.size) > 0 for far in fars])
    rng = np.random.default_rng(seed)
    tars = np.full((draws, len(fars)), np.nan)
    for draw in range(draws):
        times = np.bincount(rng.integers(people.size, size=people.size), minlength=people.size)
        passed = np.append(0, np.cumsum(times[owner]))
        admitted = np.cumsum(times[sides[:, 0]] * times[sides[:, 1]])[ends]
        if passed[-1] and admitted[-1]:  # Otherwise the few people drawn share no such pair.
            groups = [np.searchsorted(admitted, allowed_impostors(far, int(admitted[-1])), "right") for far in fars]
            tars[draw] = passed[ahead[groups]] / passed[-1]
    valid = tars[~np.isnan(tars).any(axis=1)]
    if not len(valid):
        return dict.fromkeys(fars, (math.nan, math.nan))
    bounds = np.quantile(valid, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    bounds[:, ~measurable] = np.nan
    return {far: (float(low), float(high)) for far, low, high in zip(fars, *bounds, strict=True)}


def _check_confidence(confidence):
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}.")
