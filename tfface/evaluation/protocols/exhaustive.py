"""Exact TAR@FAR over all pairs of a large set, up to 10^12 of them, in bounded memory.

A pass counts float32 scores of impostors in narrow bins. An exact score lies within the float32 error of its float32
score, and the bins are wider than that error, so a few bins certainly hold the threshold of a FAR. Exact scores are
computed in those bins, and the scores above them are counted. Threshold and TAR are then those of the exact scores, for
any blocks, machine or device of the products. The pass skips scores below a floor, which rises as soon as enough higher
scores are known, and keeps the pairs above it. Where a FAR admits more of them than memory should hold, a second pass
finds them again, perhaps on another machine; it skips blocks without a score of interest.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable

import numpy as np

from tfface.evaluation.exact.found_pairs import pairs_above
from tfface.evaluation.exact.score_bands import BLOCK, Blocks, Kept, Near, find_band, lowest_needed
from tfface.evaluation.exact.similarity import (
    UnitVectors,
    checked_labels,
    float32_product,
    listed_scores,
    same_label_pairs,
)
from tfface.evaluation.metrics.verification import OperatingPoint, allowed_impostors
from tfface.evaluation.protocols.resume import Checkpoint

_MOST_GENUINE = 1 << 27


@dataclasses.dataclass(frozen=True, eq=False)
class ExhaustiveResult:
    """Exact verification rates over all pairs.

    Attributes:
      tar_at_far: dict from FAR to OperatingPoint.
      genuine: int, number of genuine pairs.
      impostors: int, number of impostor pairs.
    """

    tar_at_far: dict[float, OperatingPoint]
    genuine: int
    impostors: int


def exhaustive_tar_at_far(
    embeddings: np.ndarray,
    labels: np.ndarray,
    fars: Iterable[float],
    distractors: np.ndarray | None = None,
    checkpoint: str | os.PathLike | None = None,
    save_seconds: float = 300,
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = float32_product,
    progress: Callable[[Iterable], Iterable] = iter,
) -> ExhaustiveResult:
    """Measures `tar_at_far` over every pair of a set, or of a set and its distractors.

    All pairs of images with the same label are genuine. All other pairs are impostors or, with distractors, every pair
    of an embedding and a distractor (Trillion-Pairs, MegaFace). Memory besides the arrays: 8 bytes per genuine pair
    and about 0.5 GB.

    Args:
      embeddings: float [N, D], an array or a memory map, rows of any lengths from 1e-18 to 1e18.
      labels: int or str [N].
      fars: floats in (0, 1).
      distractors: float [M, D], images of other people than the labels, or None.
      checkpoint: path of a file that the state is saved to from time to time. A later run continues from it; it is
        removed at the end.
      save_seconds: float, shortest time between two saves, seconds.
      product: as in `highest_scores`.
      progress: function around the list of blocks, in each pass, such as `tfface.progress.bar`.

    Returns:
      ExhaustiveResult.

    Raises:
      ValueError: there is no genuine or no impostor pair, a FAR is out of its range, shapes or types do not fit, an
        embedding is zero or not finite, the checkpoint belongs to other data, the product is less accurate than
        float32, or too many pairs to hold in memory are genuine or have nearly the score of a threshold.

    Reference:
      Deng et al., ArcFace, CVPR 2019, section 3.3 (Trillion-Pairs).
    """
    labels = checked_labels(labels, len(embeddings), "labels")
    # Sorted by label, so that pairs of one person are in few blocks.
    order = np.argsort(labels, kind="stable")
    left = UnitVectors(embeddings, "embeddings", order)
    person = np.unique(labels[order], return_inverse=True)[1]
    right = left if distractors is None else UnitVectors(distractors, "distractors", dim=left.dim)
    genuine = _genuine_scores(left, person)
    pairs = len(left) * len(right) if distractors is not None else math.comb(len(left), 2) - genuine.size
    if not genuine.size or not pairs:
        raise ValueError(f"genuine and impostor pairs are needed, got {genuine.size} and {pairs}.")
    fars = [float(far) for far in fars]
    if 1.0 in fars:
        raise ValueError(f"`fars` must be in (0, 1), got {fars}.")
    allowed = [allowed_impostors(far, pairs) for far in fars]
    wanted = sorted({count for count in allowed if count})
    points = {0: OperatingPoint(np.nan, np.nan, np.nan)}
    if wanted:
        blocks = Blocks(left, right, person if distractors is None else None, product)
        saved = Checkpoint(checkpoint, save_seconds, _identity(left, right, person, distractors is None, wanted))
        counts, peaks, kept = _count(blocks, max(wanted), saved, progress)
        bands = [find_band(counts, count) for count in wanted]
        nears = _refine(blocks, bands, counts, peaks, kept, saved, progress)
        for count, near in zip(wanted, nears, strict=True):
            points[count] = _point(genuine, near, count, pairs)
        saved.remove()
    return ExhaustiveResult(dict(zip(fars, [points[count] for count in allowed], strict=True)), genuine.size, pairs)


def _genuine_scores(vectors, person):
    sizes = np.bincount(person)
    total = int(np.sum(sizes * (sizes - 1) // 2))
    if total > _MOST_GENUINE:
        raise ValueError(f"at most {_MOST_GENUINE} genuine pairs can be held, got {total}.")
    scores = [np.empty(0)]
    for start in range(0, len(vectors), BLOCK):
        left, right = same_label_pairs(person[start : start + BLOCK], person)
        once = left + start < right
        scores.append(listed_scores(vectors, vectors, left[once] + start, right[once]))
    return np.sort(np.concatenate(scores))


def _identity(left, right, person, paired, wanted):
    """Yields arrays that distinguish one measurement from another."""
    yield np.array([len(left), len(right), left.dim, paired, *wanted], np.int64)
    yield person
    for vectors in (left, right) if left is not right else (left,):
        for start in range(0, len(vectors), BLOCK):
            yield vectors.exact(slice(start, start + BLOCK))


def _count(blocks, most, saved, progress):
    """Counts float32 scores per bin, as far as up to `most` impostors need; also finds the peak of every block.

    Returns:
      (counts, peaks, kept): int64 [bins], float32 [blocks], and Kept, which holds the counted pairs if they are few.
    """
    state = saved.load()
    counts = state.get("counts", np.zeros(blocks.bins, np.int64))
    peaks = state.get("peaks", np.full(len(blocks.corners), -np.inf, np.float32))
    kept = Kept(state or None)
    for number in progress(range(int(state.get("counted", 0)), len(blocks.corners))):
        for strip in blocks.strips(number):
            floor = np.float32(blocks.edge(lowest_needed(counts, most)))
            pairs, highest = pairs_above(strip, floor)
            np.add(counts, np.bincount(blocks.bin(pairs.scores), minlength=blocks.bins), out=counts)
            kept.add(pairs, floor)
            peaks[number] = max(peaks[number], highest)
        done = number + 1
        saved.save(lambda done=done: {"counts": counts, "peaks": peaks, "counted": done, **kept.arrays()})
    return counts, peaks, kept


def _refine(blocks, bands, counts, peaks, kept, saved, progress):
    """Finds the exact scores in the bands: a list of Near, one per band."""
    state = saved.load()
    names = ("values", "times", "above")
    nears = [
        Near(blocks, band, *(state[f"{name}{at}"] for name in names if f"{name}{at}" in state))
        for at, band in enumerate(bands)
    ]
    floor = np.float32(blocks.edge(min(band.low for band in bands) - 1))
    if (pairs := kept.pairs()) is not None:
        for near in nears:
            near.add(pairs.above(floor))
            near.settle()
        return nears

    def arrays(done):
        for near in nears:
            near.settle()
        found = {f"{name}{at}": getattr(near, name) for at, near in enumerate(nears) for name in names}
        return {"counts": counts, "peaks": peaks, "counted": len(peaks), "refined": done, **found}

    for number in progress(range(int(state.get("refined", 0)), len(blocks.corners))):
        for strip in blocks.strips(number) if peaks[number] >= floor else ():
            pairs, _ = pairs_above(strip, floor)
            for near in nears:
                near.add(pairs)
        done = number + 1
        saved.save(lambda done=done: arrays(done))
    arrays(len(peaks))
    return nears


def _point(genuine, near, allowed, impostors):
    """Returns the operating point, as `tar_at_far` defines it."""
    accepted = near.above + np.cumsum(near.times[::-1])[::-1]
    # Values rise, so the numbers accepted at them fall; the last value that accepts too many is the highest refused.
    refused = int(np.sum(accepted > allowed)) - 1
    lowest = near.values[refused + 1 :][:1].tolist()
    passed = genuine[np.searchsorted(genuine, near.values[refused], "right") :]
    threshold = min([*lowest, *passed[:1].tolist()], default=np.inf)
    measured = int(accepted[refused + 1]) if lowest else near.above
    return OperatingPoint(passed.size / genuine.size, threshold, measured / impostors)
