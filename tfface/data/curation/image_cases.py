"""Cases of images, told from their scores: the person of their label, a second one, another identity, or nobody."""

import numpy as np

from tfface.data.curation import score_ratio

MASKED = -2.0  # A score that is left out, below every cosine.
_MOST_STEPS, _STEADY = 200, 1e-4  # Of expectation maximisation: steps, and change of a probability at its end.


def fit_cases(
    own: np.ndarray, second: np.ndarray, others: np.ndarray, impostor: np.ndarray, count: int
) -> tuple[dict[str, float], np.ndarray, dict[str, np.ndarray]]:
    """Fits the shares of the four cases and the two densities of scores, by expectation maximisation.

    Args:
      own: float [N], scores with the centre of the label; NaN: no other image has it.
      second: float [N], scores with the centre of a second person under the label; NaN: there is none.
      others: float [N, M], the highest scores with other identities; `MASKED`: there are fewer.
      impostor: float [BINS], histogram of all scores with other identities.
      count: int, K identities.

    Returns:
      (shares, ratio, probabilities): the share of each case; float64 [BINS], the likelihood ratio of scores; and the
      probabilities of each image, "own", "second" and "nobody" float64 [N], "others" float64 [N, M].

    Raises:
      ValueError: no identity has two images that agree, or images resemble their own identity no more than others.
    """
    known, doubled, met = np.isfinite(own), np.isfinite(second), others > MASKED
    if not known.any():
        raise ValueError("no identity has two images that agree: nothing tells which scores are genuine.")
    bins = [score_ratio.bins_of(np.nan_to_num(scores)) for scores in (own, second, others)]
    seen = score_ratio.histogram(own[known])
    genuine = score_ratio.without_impostors(seen, impostor)
    if not genuine.sum():
        raise ValueError(
            "images resemble their own identity no more than others: the embeddings do not tell people apart, or "
            "belong to other images."
        )
    right = genuine.sum() / seen.sum()
    shares = {"own": right, "second": 0.5, "other": (1 - right) / 2, "nobody": (1 - right) / 2}
    impostors = impostor
    probability: dict[str, np.ndarray] = {"own": np.zeros(len(own))}
    for _ in range(_MOST_STEPS):
        ratio = score_ratio.likelihood_ratio(genuine, impostors)
        weights = {
            # Without another image of the label, its score is no evidence.
            "own": shares["own"] * np.where(known, ratio[bins[0]], 1),
            "second": shares["second"] * np.where(doubled, ratio[bins[1]], 0),
            "others": shares["other"] / max(count - 1, 1) * np.where(met, ratio[bins[2]], 0),
            "nobody": np.full(len(own), shares["nobody"]),
        }
        total = weights["own"] + weights["second"] + weights["others"].sum(1) + weights["nobody"]
        before = probability["own"]
        probability = {name: (weight.T / total).T for name, weight in weights.items()}
        # An image is nobody's if neither another identity nor a genuine score explains it.
        elsewhere = probability["others"].sum(1) + probability["second"]
        seen = np.bincount(bins[0][known], 1 - elsewhere[known], score_ratio.BINS)
        genuine = score_ratio.without_impostors(seen, impostor)
        # One image more of each kind, so that what was not seen stays possible.
        sums = {
            "own": genuine.sum() + 1,
            "other": probability["others"].sum() + 1,
            "nobody": seen.sum() - genuine.sum() + 1,
        }
        shares = {name: value / sum(sums.values()) for name, value in sums.items()}
        shares["second"] = (probability["second"].sum() + 1) / (doubled.sum() + 2)
        matches = np.bincount(bins[2][met], probability["others"][met], score_ratio.BINS)
        genuine += matches
        impostors = np.maximum(impostor - matches, 0)
        if np.abs(probability["own"] - before).max() < _STEADY:
            break
    size = len(own)
    shares = {name: float(probability[name].sum() / size) for name in ("own", "second", "others", "nobody")}
    return shares, ratio, probability
