"""Pairs of AgeDB-30, CALFW and CPLFW: lists without folds that name the images of one flat folder.

Evaluation still needs ten folds: tenths of the genuine and of the impostor pairs, in their order.

Reference:
  Moschoglou et al., AgeDB, CVPR Workshops 2017; Zheng et al., Cross-Age LFW, 2017; Zheng and Deng, Cross-Pose
  LFW, 2018.
"""

import os

from tfface.data.formats.text_lists import PATH, Columns, malformed, parse_lines
from tfface.data.protocols.pairs import Pairs, pairs_of_list

ONE_LINE = Columns(PATH, PATH, "([01])")
TWO_LINES = Columns(PATH, r"(\d\d?)")


def read_agedb_pairs(path: str | os.PathLike) -> Pairs:
    """Reads a list with one pair per line: `image image same`, where same is 1 or 0.

    Args:
      path: path of the file, such as `agedb_30_pair.txt`.

    Returns:
      Pairs with the keys of the list.

    Raises:
      ValueError: if a line is malformed, a pair has one image twice, or a class has fewer than ten pairs.
    """
    left, right, same = [], [], []
    for number, match in parse_lines(path, ONE_LINE, "'image image 1' or '... 0'"):
        if match[1] == match[2]:
            raise malformed(path, number, match[0], "two different images")
        left.append(match[1])
        right.append(match[2])
        same.append(match[3] == "1")
    return pairs_of_list(path, left, right, same)


def read_cross_lfw_pairs(path: str | os.PathLike) -> Pairs:
    """Reads a list with one pair per two lines `image number`; both lines have the same number, 0 for impostors.

    Args:
      path: path of `pairs_CPLFW.txt` or `pairs_CALFW.txt`. In the latter, numbers above 0 are folds of the genuine
        pairs, which are tenths too.

    Returns:
      Pairs with the keys of the list.

    Raises:
      ValueError: if a line is malformed, the lines of a pair disagree, or a class has fewer than ten pairs.
    """
    left, right, same, first = [], [], [], None
    for number, match in parse_lines(path, TWO_LINES, "'image number'"):
        if first is None:
            first = match
            continue
        if match[2] != first[2] or match[1] == first[1]:
            raise malformed(path, number, match[0], f"another image and the number {first[2]} of the line before")
        left.append(first[1])
        right.append(match[1])
        same.append(int(match[2]) > 0)
        first = None
    if first is not None:
        raise ValueError(f"{path}: expected two lines per pair, got {2 * len(left) + 1} lines.")
    return pairs_of_list(path, left, right, same)
