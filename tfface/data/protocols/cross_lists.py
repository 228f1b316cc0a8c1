"""Pairs of AgeDB-30, CALFW and CPLFW: lists without folds that name images of one flat folder.

Evaluation takes ten folds all the same: tenths of the genuine and of the impostor pairs, in their order.

Reference:
  Moschoglou et al., AgeDB, CVPR Workshops 2017; Zheng et al., Cross-Age LFW, 2017; Zheng and Deng, Cross-Pose
  LFW, 2018.
"""

from tfface.data.formats.text_lists import PATH, compile_line, malformed, parse_lines
from tfface.data.protocols.pairs import pairs_of_list

ONE_LINE = compile_line(rf"{PATH}\s+{PATH}\s+([01])")
TWO_LINES = compile_line(rf"{PATH}\s+(\d\d?)")


def read_agedb_pairs(path):
    """Reads a list with a pair on each line: `image image same`, same being 1 or 0.

    Args:
      path: of the file, such as `agedb_30_pair.txt`.

    Returns:
      Pairs, the keys as in the list.

    Raises:
      ValueError: if a line is malformed, a pair is of one image, or a class has less than ten pairs.
    """
    left, right, same = [], [], []
    for number, match in parse_lines(path, ONE_LINE, "'image image 1' or '... 0'"):
        if match[1] == match[2]:
            raise malformed(path, number, match[0], "two different images")
        left.append(match[1])
        right.append(match[2])
        same.append(match[3] == "1")
    return pairs_of_list(path, left, right, same)


def read_cross_lfw_pairs(path):
    """Reads a list with a pair on each two lines `image number`; the number is 0 for impostors, on both lines alike.

    Args:
      path: of the file, `pairs_CALFW.txt` (whose numbers above 0 are folds of the genuine pairs, tenths again) or
        `pairs_CPLFW.txt`.

    Returns:
      Pairs, the keys as in the list.

    Raises:
      ValueError: if a line is malformed, the lines of a pair disagree, or a class has less than ten pairs.
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
        raise ValueError(f"{path}: expected two lines for each pair, got {2 * len(left) + 1} lines.")
    return pairs_of_list(path, left, right, same)
