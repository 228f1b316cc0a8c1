"""Cross-Pose LFW.

Reference:
  Zheng and Deng, Cross-Pose LFW, BUPT technical report 18-01, 2018.
"""

import os

from tfface.data.protocols.cross_lists import read_cross_lfw_pairs
from tfface.protocols.pair_protocol import PairProtocol


class CPLFW(PairProtocol):
    """Cross-Pose LFW: 6,000 pairs in ten folds; faces of one person differ in pose.

    Args:
      root: folder of the aligned faces that the list names, or records of them.
      pairs: the list, `pairs_CPLFW.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("CPLFW", root, read_cross_lfw_pairs(pairs), [pairs])
