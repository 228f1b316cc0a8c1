"""Pairs of the YouTube Faces database: its `splits.txt`.

Reference:
  Wolf, Hassner and Maoz, Face Recognition in Unconstrained Videos with Matched Background Similarity, CVPR 2011.
"""

import os

from tfface.data.formats.text_lists import NUMBER, PATH, compile_line, malformed, parse_lines, read_lines
from tfface.data.protocols.pairs import Pairs, pairs_of_list

SPLITS_HEADER = compile_line(r"\s*split number\s*,.*")
_LINE = compile_line(rf"\s*{NUMBER}\s*,\s*{NUMBER}\s*,\s*{PATH}\s*,\s*{PATH}\s*(?:,\s*[01]\s*)?,\s*([01])")


def read_ytf_pairs(path: str | os.PathLike) -> Pairs:
    """Reads `splits.txt`, or `splits_corrected.txt` with its additional column.

    After a header each line is `split, pair, video, video, same`. The corrected list has two columns for same, as
    published and as corrected; the corrected one is used.

    Args:
      path: path of the file.

    Returns:
      Pairs of videos; a key is the folder of a video's frames, such as `Abel_Pacheco/2`.

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
