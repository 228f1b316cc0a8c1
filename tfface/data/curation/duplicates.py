"""Duplicate images: byte for byte, or as another copy of the same picture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tfface.data.curation.image_hashes import ImageHashes

BANDS, BAND_BITS = 4, 16
COARSE_RADIUS = 7  # With 7 different bits, one of the 4 bands differs in at most 1 bit; 8 bits could be 2 in each.
FINE_RADIUS = 32

_CHUNK = 1 << 21


def near_pairs(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Finds all pairs of perceptual hashes that count as the same picture, in constant memory.

    They differ in at most 7 of the 64 bits of the first word and at most 32 of the other 256. The search is exact: the
    hashes of such a pair agree, up to one bit, in at least one of four bands of 16 bits. All pairs that agree in a band
    are compared, which is about one pair in a thousand.

    Args:
      hashes: uint64 [N, 5] of `perceptual_hash`, no two of them equal.

    Yields:
      int64 [P, 2], pairs of rows i < j; a pair that agrees in several bands occurs several times.
    """
    for band in range(BANDS):
        values = (hashes[:, 0] >> np.uint64(band * BAND_BITS)) & np.uint64((1 << BAND_BITS) - 1)
        order = np.argsort(values, kind="stable")
        values, coarse = values[order], hashes[order, 0]
        for flipped in (0, *(1 << bit for bit in range(BAND_BITS))):
            # Only the hash without the bit looks for those with it, so that no pair is found from both sides.
            rows = np.flatnonzero(values & np.uint64(flipped) == 0)
            others = values[rows] | np.uint64(flipped)
            starts = np.searchsorted(values, others, "left") if flipped else rows + 1
            for first, second in _ranges(rows, starts, np.searchsorted(values, others, "right")):
                near = _distance(coarse[first], coarse[second]) <= COARSE_RADIUS
                one, other = order[first[near]], order[second[near]]
                near = _distance(hashes[one, 1:], hashes[other, 1:]).sum(axis=1) <= FINE_RADIUS
                if near.any():
                    yield np.sort(np.stack([one[near], other[near]], axis=1), axis=1)


def duplicate_groups(hashes: "ImageHashes") -> list[list[int]]:
    """Groups the images that show the same picture; an image near any member of a group belongs to the group.

    Args:
      hashes: `ImageHashes`.

    Returns:
      Lists of two or more sorted indices, ordered by their first index.
    """
    looks, group = np.unique(hashes.perceptual, axis=0, return_inverse=True)
    roots = np.arange(len(looks))
    for pairs in near_pairs(looks):
        while len(pairs := pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]]):
            low, high = np.sort(roots[pairs], axis=1).T
            roots[high] = low  # If there are several, the last one wins; the next iteration handles the others.
            while (roots != roots[roots]).any():
                roots = roots[roots]
    group = roots[group.ravel()]
    order = np.argsort(group, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(members.tolist() for members in groups if len(members) > 1)


def _ranges(rows, starts, stops):
    """Yields arrays of pairs (rows[i], j) for every j in [starts[i], stops[i]), in chunks."""
    ends = np.concatenate([[0], np.cumsum(stops - starts)])
    cuts = np.unique([*np.searchsorted(ends, np.arange(0, ends[-1], _CHUNK)), len(rows)])
    for begin, end in zip(cuts, cuts[1:], strict=False):
        lengths = (stops - starts)[begin:end]
        shift = np.repeat(starts[begin:end] - (ends[begin:end] - ends[begin]), lengths)
        yield np.repeat(rows[begin:end], lengths), np.arange(len(shift)) + shift


def _distance(one, other):
    """Returns the number of bits in which uint64 arrays differ."""
    bits = one ^ other
    if hasattr(np, "bitwise_count"):  # Since NumPy 2.0.
        return np.bitwise_count(bits)
    return np.unpackbits(bits[..., None].view(np.uint8), axis=-1).sum(axis=-1)
