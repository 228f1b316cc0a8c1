"""Random permutations: a pure function of a seed and a counter, the same in every release and on every machine."""

import numpy as np

# Each kind of permutation has counters of its own: the kind, and two numbers.
IDENTITIES, IMAGES, BLOCKS, RECORDS = range(4)


def permutation(count: int, seed: int, kind: int, first: int, second: int) -> np.ndarray:
    """Draws a permutation.

    Args:
      count: number of elements.
      seed: int >= 0.
      kind: one of the constants of this module.
      first, second: ints >= 0, the counter.

    Returns:
      int64 [count].
    """
    # NumPy promises equal bits of a bit generator in every version, unlike equal permutations.
    bits = np.random.Philox(key=seed, counter=[0, kind, int(first), int(second)]).random_raw(count)
    return np.argsort(bits, kind="stable")
