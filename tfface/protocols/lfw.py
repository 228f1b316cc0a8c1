"""Labeled Faces in the Wild.

Reference:
  Huang et al., Labeled Faces in the Wild, UMass Amherst technical report 07-49, 2007.
"""

import os

from tfface.data.protocols.lfw_lists import read_lfw_pairs
from tfface.protocols.pair_protocol import PairProtocol


class LFW(PairProtocol):
    """Labeled Faces in the Wild: the 6,000 pairs of View 2 in ten folds.

    Args:
      root: the aligned faces, `root/Abel_Pacheco/Abel_Pacheco_0001.jpg`: folder or records.
      pairs: LFW's `pairs.txt`.
    """

    def __init__(self, root: str | os.PathLike, pairs: str | os.PathLike):
        super().__init__("LFW", root, read_lfw_pairs(pairs), [pairs])
