"""Celebrities in Frontal-Profile.

Reference:
  Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016.
"""

import os

from tfface.data.protocols.cfp_lists import read_cfp_pairs
from tfface.protocols.pair_protocol import PairProtocol


class CFP(PairProtocol):
    """Celebrities in Frontal-Profile: 7,000 pairs in ten folds.

    Args:
      root: folder in the official layout, with the aligned faces in `Data/Images` and the lists in `Protocol`.
      split: "FP" for frontal-profile pairs, "FF" for frontal-frontal ones.
    """

    def __init__(self, root: str | os.PathLike, split: str = "FP"):
        if split not in ("FF", "FP"):
            raise ValueError(f"`split` must be 'FF' or 'FP', got {split!r}.")
        folder = os.path.join(root, "Protocol", "Split", split)
        images = os.path.join(root, "Data", "Images")
        # The pairs are numbers of lines in these.
        lists = [os.path.join(root, "Protocol", f"image_list_{letter}.txt") for letter in dict.fromkeys(split)]
        super().__init__(f"CFP-{split}", images, read_cfp_pairs(folder), [folder, *lists])
