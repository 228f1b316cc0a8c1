"""Cross-Age LFW.

Reference:
  Zheng, Deng and Hu, Cross-Age LFW, arXiv:1708.08197, 2017.
"""

import os

from tfface.data.protocols.cross_lists import read_cross_lfw_pairs
from tfface.protocols.pair_protocol import PairProtocol


class CALFW(PairProtocol):
    """Cross-Age LFW: 6,000 pairs in ten folds; faces of one person differ in age.

    Args:
      root: folder of the aligned faces that the list names, or records of them.
      pairs: the list, `pairs_CALFW.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("CALFW", root, read_cross_lfw_pairs(pairs), [pairs])
