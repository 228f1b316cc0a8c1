"""Pairs of the YouTube Faces database: its `splits.txt`.

Reference:
  Wolf, Hassner and Maoz, Face Recognition in Unconstrained Videos with Matched Background Similarity, CVPR 2011.
"""

from tfface.data.formats.text_lists import NUMBER, PATH, compile_line, malformed, parse_lines, read_lines
from tfface.data.protocols.pairs import pairs_of_list

SPLITS_HEADER = compile_line(r"\s*split number\s*,.*")
_LINE = compile_line(rf"\s*{NUMBER}\s*,\s*{NUMBER}\s*,\s*{PATH}\s*,\s*{PATH}\s*(?:,\s*[01]\s*)?,\s*([01])")


def read_ytf_pairs(path):
    """Reads `splits.txt`, or `splits_corrected.txt` with its further column.

    After a header each line is `split, pair, video, video, same`; the corrected list has same as published before same
    as corrected, and the latter is taken.

    Args:
      path: of the file.

    Returns:
      Pairs whose keys are videos, which are folders of frames such as `Abel_Pacheco/2`.

    Raises:
      ValueError: if a line is malformed.
    """
    header, *lines = read_lines(path) or [""]
    if not SPLITS_HEADER.fullmatch(header):
        raise malformed(path, 1, header, "the header 'split number, ...'")
    left, right, same, fold = [], [], [], []
    for number, match in parse_lines(path, _LINE, "'split, pair, video, video, same'", lines, 2):
        if match[3] == match[4]:
            raise malformed(path, number, match[0], "two different videos")
        left.append(match[3])
        right.append(match[4])
        same.append(match[5] == "1")
        fold.append(int(match[1]) - 1)
    return pairs_of_list(path, left, right, same, fold)
