"""Metrics of face verification, computed exactly from similarity scores.

A pair is accepted as one person if its score is at least the threshold. Scores are similarities, so negate distances.
Every function sorts once, which is fast enough for ten million scores.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class FoldAccuracy:
    """Accuracy of every fold at the threshold chosen on the other folds.

    Attributes:
      per_fold: float64 [F], fraction of correct decisions in each fold, in the order of the fold numbers.
      thresholds: float64 [F], the threshold applied to each fold.
    """

    per_fold: np.ndarray
    thresholds: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.per_fold))

    @property
    def std(self) -> float:
        """Population standard deviation over the folds."""
        return float(np.std(self.per_fold))


class OperatingPoint(NamedTuple):
    """Verification rates at one threshold; all NaN if the requested FAR cannot be measured."""

    tar: float
    threshold: float
    measured_far: float

    @property
    def measurable(self) -> bool:
        """Whether there are enough impostors for the requested FAR."""
        return not np.isnan(self.tar)


class Roc(NamedTuple):
    """Points of a receiver operating characteristic, float64 [T + 1] each, by falling threshold."""

    far: np.ndarray
    tar: np.ndarray
    thresholds: np.ndarray


def kfold_accuracy(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> FoldAccuracy:
    """Measures verification accuracy by cross-validation: each fold has a threshold chosen on all other folds.

    Args:
      scores: float [P], similarity of every pair.
      same: bool [P], True for genuine pairs.
      fold: int [P], the fold of every pair; at least two distinct folds.

    Returns:
      FoldAccuracy.

    Raises:
      ValueError: there are fewer than two folds, the other folds lack genuine or impostor pairs, a score is not finite,
        or types and lengths do not fit.

    Reference:
      Huang et al., Labeled Faces in the Wild, UMass Amherst technical report 07-49, 2007, section on View 2.
    """
    scores, same, fold = checked_scores(scores, "scores"), np.asarray(same), np.asarray(fold)
    if fold.shape != scores.shape or fold.dtype.kind not in "iu":
        raise ValueError(f"`fold` must be int [{scores.size}], got {fold.dtype} {fold.shape}.")
    numbers = np.unique(fold)
    if numbers.size < 2:
        raise ValueError(
            f"each fold needs a threshold from other folds: at least 2 are needed, got {numbers.tolist()}."
        )
    scores, same, order = _sorted_pairs(scores, same)
    fold = fold[order]
    thresholds, per_fold = [], []
    for number in numbers:
        held_out = fold == number
        threshold = _best_threshold(scores[~held_out], same[~held_out])
        thresholds.append(threshold)
        per_fold.append(np.mean((scores[held_out] >= threshold) == same[held_out]))
    return FoldAccuracy(np.array(per_fold), np.array(thresholds))


def combined_accuracy(protocols: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> FoldAccuracy:
    """Measures the accuracy on several protocols as one, the "Combined" column of SphereFace2.

    Fold k of all protocols has one threshold, chosen on the other folds of all protocols. The paper
    combines LFW, AgeDB-30, CALFW and CPLFW: 24,000 pairs.

    Args:
      protocols: iterable of (scores, same, fold) as in `kfold_accuracy`, all with the same fold numbers.

    Returns:
      FoldAccuracy.

    Raises:
      ValueError: fold numbers differ, or the pairs do not allow the measurement.

    Reference:
      Wen et al., SphereFace2, ICLR 2022, section 4.1 and Tables 3 to 6.
    """
    parts = [tuple(map(np.asarray, protocol)) for protocol in protocols]
    folds = [np.unique(fold).tolist() for _, _, fold in parts]
    if not folds or any(numbers != folds[0] for numbers in folds):
        raise ValueError(f"combined protocols must have the same folds, got {folds}.")
    return kfold_accuracy(*map(np.concatenate, zip(*parts, strict=True)))


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """Finds the threshold with the most correct decisions on the given pairs.

    It lies midway between two neighbouring distinct scores, or is -inf (accept all) or +inf (refuse all). The smallest
    of equally good thresholds is chosen. Accuracy on the same pairs would be too high: see `kfold_accuracy`.

    Args:
      scores: float [P], similarity of every pair.
      same: bool [P], True for genuine pairs.

    Returns:
      The threshold, float.

    Raises:
      ValueError: genuine or impostor pairs are missing, a score is not finite, or types and lengths do not fit.
    """
    scores, same, _ = _sorted_pairs(checked_scores(scores, "scores"), np.asarray(same))
    return _best_threshold(scores, same)


def tar_at_far(
    genuine_scores: np.ndarray, impostor_scores: np.ndarray, fars: Iterable[float]
) -> dict[float, OperatingPoint]:
    """Finds the fraction of genuine pairs accepted (TAR) if at most a given fraction of impostors is (FAR).

    The threshold is the smallest score in either set at which the fraction of impostors with that score or more does
    not exceed the FAR (+inf if no score is high enough, with TAR 0). Nothing is interpolated. A FAR below one impostor
    pair in all (1 / I) cannot be measured; its point is NaN.

    Args:
      genuine_scores: float [G].
      impostor_scores: float [I].
      fars: iterable of float in (0, 1].

    Returns:
      dict from FAR (float) to OperatingPoint.

    Raises:
      ValueError: a FAR is outside (0, 1], there are no genuine or impostor scores, or a score is not finite.
    """
    genuine, impostor = _sorted_sets(genuine_scores, impostor_scores)
    return {float(far): operating_point(genuine, impostor, impostor.size, far) for far in fars}


def roc(genuine_scores: np.ndarray, impostor_scores: np.ndarray) -> Roc:
    """Lists the exact points of the ROC, one per distinct score, after the point (0, 0) at +inf.

    Args:
      genuine_scores: float [G].
      impostor_scores: float [I].

    Returns:
      Roc with T distinct scores; `far` and `tar` rise from 0 to 1.

    Raises:
      ValueError: there are no genuine or impostor scores, or a score is not finite.
    """
    genuine, impostor = _sorted_sets(genuine_scores, impostor_scores)
    thresholds = np.unique(np.concatenate([genuine, impostor]))[::-1]
    far, tar = (
        np.append(0.0, (scores.size - np.searchsorted(scores, thresholds, "left")) / scores.size)
        for scores in (impostor, genuine)
    )
    return Roc(far, tar, np.append(np.inf, thresholds))


def equal_error_rate(genuine_scores: np.ndarray, impostor_scores: np.ndarray) -> float:
    """Finds the rate at which the fraction of impostors accepted equals that of genuine pairs refused.

    The straight lines that join the exact ROC points cross FAR = 1 - TAR in exactly one point.

    Args:
      genuine_scores: float [G].
      impostor_scores: float [I].

    Returns:
      The rate, a float in [0, 1].

    Raises:
      ValueError: there are no genuine or impostor scores, or a score is not finite.
    """
    far, tar, _ = roc(genuine_scores, impostor_scores)
    # far + tar rises strictly from 0 to 2, so the crossing is unique and has a point on its left.
    after = int(np.argmax(far + tar >= 1))
    before = after - 1
    part = (1 - far[before] - tar[before]) / (far[after] + tar[after] - far[before] - tar[before])
    return float(far[before] + part * (far[after] - far[before]))


def area_under_curve(genuine_scores: np.ndarray, impostor_scores: np.ndarray) -> float:
    """Finds the probability that a genuine pair scores higher than an impostor pair; ties count half.

    This is the area under the ROC, and the Mann-Whitney statistic.

    Args:
      genuine_scores: float [G].
      impostor_scores: float [I].

    Returns:
      The area, a float in [0, 1].

    Raises:
      ValueError: there are no genuine or impostor scores, or a score is not finite.
    """
    genuine, impostor = _sorted_sets(genuine_scores, impostor_scores)
    below = np.searchsorted(impostor, genuine, "left").sum()
    not_above = np.searchsorted(impostor, genuine, "right").sum()
    return float((below + not_above) / (2 * genuine.size * impostor.size))


def _best_threshold(scores, same):
    """Does the same as `best_threshold` on sorted scores."""
    if same.all() or not same.any():
        missing = "impostor" if same.all() else "genuine"
        raise ValueError(f"a threshold needs genuine and impostor pairs, got no {missing} among {same.size}.")
    # Cut c refuses scores[:c] and accepts scores[c:]; equal scores cannot be cut apart.
    cuts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1], [True]]))
    refused_genuine = np.append(0, np.cumsum(same))[cuts]
    correct = (cuts - refused_genuine) + (same.sum() - refused_genuine)
    cut = cuts[np.argmax(correct)]
    if cut in (0, scores.size):
        return -np.inf if cut == 0 else np.inf
    low, high = scores[cut - 1], scores[cut]
    middle = low / 2 + high / 2
    # Between adjacent floats the middle rounds to one of them, which must not be the lower.
    return float(middle if middle > low else high)


def allowed_impostors(far: float, impostor_count: int) -> int:
    """Returns the largest number of impostors accepted at a FAR in (0, 1]; 0 if it cannot be measured."""
    if not 0 < far <= 1:
        raise ValueError(f"a FAR must be in (0, 1], got {far}.")
    # Rounding first keeps 0.29 * 100 = 28.999... from losing one.
    allowed = round(far * impostor_count)
    return allowed - 1 if allowed and allowed / impostor_count > far else allowed


def operating_point(genuine: np.ndarray, impostor: np.ndarray, impostor_count: int, far: float) -> OperatingPoint:
    """Does the same as `tar_at_far` on sorted scores; only the highest impostors are needed, one more than allowed."""
    allowed = allowed_impostors(far, impostor_count)
    if allowed == 0:
        return OperatingPoint(np.nan, np.nan, np.nan)
    highest_refused = impostor[-1 - allowed] if allowed < impostor_count else -np.inf
    accepted = [scores[np.searchsorted(scores, highest_refused, "right") :] for scores in (genuine, impostor)]
    threshold = min((float(scores[0]) for scores in accepted if scores.size), default=np.inf)
    return OperatingPoint(accepted[0].size / genuine.size, threshold, accepted[1].size / impostor_count)


def _sorted_pairs(scores, same):
    if same.shape != scores.shape or same.dtype != bool:
        raise ValueError(f"`same` must be bool [{scores.size}], got {same.dtype} {same.shape}.")
    order = np.argsort(scores, kind="stable")
    return scores[order], same[order], order


def _sorted_sets(genuine_scores, impostor_scores):
    return np.sort(checked_scores(genuine_scores, "genuine_scores")), np.sort(
        checked_scores(impostor_scores, "impostor_scores")
    )


def checked_scores(scores: np.ndarray, name: str) -> np.ndarray:
    """Returns scores as float64 [P], P > 0; refuses scores that are not finite."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f"`{name}` must be a list of at least one score, got shape {scores.shape}.")
    if not np.isfinite(scores).all():
        first = int(np.argmin(np.isfinite(scores)))
        raise ValueError(f"`{name}` must be finite, got {scores[first]} at index {first}.")
    return scores
