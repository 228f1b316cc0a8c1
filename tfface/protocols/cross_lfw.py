"""AgeDB-30, CALFW and CPLFW: lists of pairs of the images of one flat folder.

Reference:
  Moschoglou et al., AgeDB, CVPR Workshops 2017; Zheng, Deng and Hu, Cross-Age LFW, arXiv:1708.08197, 2017; Zheng and
  Deng, Cross-Pose LFW, BUPT technical report 18-01, 2018.
"""

import os

from tfface.data.protocols.cross_lists import read_agedb_pairs, read_cross_lfw_pairs
from tfface.protocols.pair_protocol import PairProtocol


class AgeDB30(PairProtocol):
    """AgeDB-30: 6,000 pairs in ten folds; faces of one person are 30 years apart.

    Args:
      root: folder of the aligned faces that the list names, or records of them.
      pairs: the list, `agedb_30_pair.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("AgeDB-30", root, read_agedb_pairs(pairs), [pairs])


class CALFW(PairProtocol):
    """Cross-Age LFW: 6,000 pairs in ten folds; faces of one person differ in age.

    Args:
      root: folder of the aligned faces that the list names, or records of them.
      pairs: the list, `pairs_CALFW.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("CALFW", root, read_cross_lfw_pairs(pairs), [pairs])


class CPLFW(PairProtocol):
    """Cross-Pose LFW: 6,000 pairs in ten folds; faces of one person differ in pose.

    Args:
      root: folder of the aligned faces that the list names, or records of them.
      pairs: the list, `pairs_CPLFW.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("CPLFW", root, read_cross_lfw_pairs(pairs), [pairs])
