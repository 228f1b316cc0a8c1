"""Images that occur more than once, byte for byte or as another copy of the same picture."""

import numpy as np

BANDS, BAND_BITS = 4, 16
COARSE_RADIUS = 7  # Within 7 bits some band of 16 differs in 1 at most: 8 differences would need 2 in each of 4.
FINE_RADIUS = 32

_CHUNK = 1 << 21


def near_pairs(hashes):
    """Finds all pairs of perceptual hashes that mean the same picture, in constant memory.

    These differ in at most 7 of the 64 bits of their first word and at most 32 of the other 256. The search is exact:
    hashes of such a pair agree in one of four bands of 16 bits up to one bit, and are compared wherever that is so.
    That is about one comparison in a thousand pairs.

    Args:
      hashes: uint64 [N, 5] of `perceptual_hash`, no two of them equal.

    Yields:
      int64 [P, 2], pairs by their rows i < j; those that agree in several bands come as often.
    """
    for band in range(BANDS):
        values = (hashes[:, 0] >> np.uint64(band * BAND_BITS)) & np.uint64((1 << BAND_BITS) - 1)
        order = np.argsort(values, kind="stable")
        values, coarse = values[order], hashes[order, 0]
        for flipped in (0, *(1 << bit for bit in range(BAND_BITS))):
            # The one without the bit looks for those with it, so that no pair is met from both ends.
            rows = np.flatnonzero(values & np.uint64(flipped) == 0)
            others = values[rows] | np.uint64(flipped)
            starts = np.searchsorted(values, others, "left") if flipped else rows + 1
            for first, second in _ranges(rows, starts, np.searchsorted(values, others, "right")):
                near = _distance(coarse[first], coarse[second]) <= COARSE_RADIUS
                one, other = order[first[near]], order[second[near]]
                near = _distance(hashes[one, 1:], hashes[other, 1:]).sum(axis=1) <= FINE_RADIUS
                if near.any():
                    yield np.sort(np.stack([one[near], other[near]], axis=1), axis=1)


def duplicate_groups(hashes):
    """Groups the images that are the same picture; what is near a member of a group belongs to it.

    Args:
      hashes: `ImageHashes`.

    Returns:
      List of lists of two or more positions, each sorted, by their first.
    """
    looks, group = np.unique(hashes.perceptual, axis=0, return_inverse=True)
    roots = np.arange(len(looks))
    for pairs in near_pairs(looks):
        while len(pairs := pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]]):
            low, high = np.sort(roots[pairs], axis=1).T
            roots[high] = low  # Of several the last one: the others come again in the next turn.
            while (roots != roots[roots]).any():
                roots = roots[roots]
    group = roots[group.ravel()]
    order = np.argsort(group, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(members.tolist() for members in groups if len(members) > 1)


def _ranges(rows, starts, stops):
    """Yields arrays of pairs (rows[i], j) for every j in [starts[i], stops[i]), not too many at once."""
    ends = np.concatenate([[0], np.cumsum(stops - starts)])
    cuts = np.unique([*np.searchsorted(ends, np.arange(0, ends[-1], _CHUNK)), len(rows)])
    for begin, end in zip(cuts, cuts[1:], strict=False):
        lengths = (stops - starts)[begin:end]
        shift = np.repeat(starts[begin:end] - (ends[begin:end] - ends[begin]), lengths)
        yield np.repeat(rows[begin:end], lengths), np.arange(len(shift)) + shift


def _distance(one, other):
    """Number of bits in which uint64 arrays differ."""
    bits = one ^ other
    if hasattr(np, "bitwise_count"):  # Since NumPy 2.0.
        return np.bitwise_count(bits)
    return np.unpackbits(bits[..., None].view(np.uint8), axis=-1).sum(axis=-1)
