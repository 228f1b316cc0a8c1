"""Confidence intervals of rates: how far a figure would move with other people.

`wilson_interval` is for independent trials: the pairs of LFW View 2, the searches of a probe set with one probe a
person. It keeps its coverage at rates near 0 and 1, where the normal approximation ends at the rate itself, and is
narrower than Clopper and Pearson's, which is never short but often long. In lists such as those of IJB-B and IJB-C one
person is in thousands of pairs, which then rise and fall together; Wilson's interval is far too narrow there, and
`bootstrap_tar_at_far` draws people instead of pairs. It also moves the threshold, whose own uncertainty dominates
where a FAR admits only a few impostors.
"""

import math
import statistics

import numpy as np

from tfface.evaluation.metrics.verification import allowed_impostors, checked_scores


def wilson_interval(rate, trials, confidence=0.95):
    """Bounds the probability behind a rate that was observed in independent trials.

    Args:
      rate: float in [0, 1], such as a TAR at a fixed threshold; NaN (not measurable) gives NaN bounds.
      trials: int, how many trials the rate is of, such as the number of genuine pairs.
      confidence: float in (0, 1).

    Returns:
      (low, high), floats in [0, 1] around the rate.

    Raises:
      ValueError: if a value is out of its range.

    Reference:
      Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927; Brown, Cai and
      DasGupta, Interval Estimation for a Binomial Proportion, Statistical Science 16, 2001.
    """
    _check_confidence(confidence)
    if rate < 0 or rate > 1 or trials < 1:
        raise ValueError(f"a rate in [0, 1] of at least one trial is needed, got {rate} of {trials}.")
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    reach = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / shrink
    # At 0 and 1 one bound is the rate itself, which rounding must not miss.
    return (0.0 if rate == 0 else centre - reach, 1.0 if rate == 1 else centre + reach)


def bootstrap_tar_at_far(
    genuine_scores, genuine_people, impostor_scores, impostor_people, fars, confidence=0.95, draws=1000, seed=0
):
    """Bounds the TAR at given FARs, for pairs that share people.

    Each draw takes as many people as there are, with replacement. A genuine pair of somebody drawn m times counts m
    times, an impostor pair of people drawn m and n times counts m n times, and threshold and TAR are found anew. The
    interval holds the middle `confidence` of the draws' TARs.

    Args:
      genuine_scores: float [G].
      genuine_people: int or str [G], whose pair it is.
      impostor_scores: float [I].
      impostor_people: int or str [I, 2], the two people of every impostor pair.
      fars: iterable of float in (0, 1].
      confidence: float in (0, 1).
      draws: int, the number of draws.
      seed: int; the same arguments give the same intervals.

    Returns:
      dict from FAR (float) to (low, high); NaN where the FAR cannot be measured.

    Raises:
      ValueError: if a value is out of its range, shapes do not fit, or a score is not finite.

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
    # By falling score; group g holds the impostors of one score, and genuine pairs above it are `ahead[g]` many.
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
        if passed[-1] and admitted[-1]:  # else the few people drawn have no such pair
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
