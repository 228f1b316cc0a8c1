"""AgeDB-30.

Reference:
  Moschoglou et al., AgeDB, CVPR Workshops 2017.
"""

import os

from tfface.data.protocols.cross_lists import read_agedb_pairs
from tfface.protocols.pair_protocol import PairProtocol


class AgeDB30(PairProtocol):
    """AgeDB-30: 6,000 pairs in ten folds; faces of one person are 30 years apart.

    Args:
      root: folder of the aligned faces that the list names, or records of them.
      pairs: the list, `agedb_30_pair.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("AgeDB-30", root, read_agedb_pairs(pairs), [pairs])
