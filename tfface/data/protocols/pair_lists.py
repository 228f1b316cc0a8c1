"""Reader of verification pairs that recognises every published form of list."""

import os

from tfface.data.formats.text_lists import compile_line, malformed, read_lines
from tfface.data.protocols.cfp_lists import read_cfp_pairs
from tfface.data.protocols.cross_lists import ONE_LINE, TWO_LINES, read_agedb_pairs, read_cross_lfw_pairs
from tfface.data.protocols.lfw_lists import PAIRS_HEADER, read_lfw_pairs
from tfface.data.protocols.pair_sampling import sample_pairs
from tfface.data.protocols.pairs import Pairs, read_pairs_table
from tfface.data.protocols.ytf_lists import SPLITS_HEADER, read_ytf_pairs

__all__ = ["Pairs", "read_pairs", "sample_pairs"]

# The first line of a list selects its reader.
_READERS = (
    (compile_line(r"left,right,same,fold"), read_pairs_table),
    (PAIRS_HEADER, read_lfw_pairs),
    (SPLITS_HEADER, read_ytf_pairs),
    (ONE_LINE, read_agedb_pairs),
    (TWO_LINES, read_cross_lfw_pairs),
)


def read_pairs(path: str | os.PathLike) -> Pairs:
    """Reads the pairs of a protocol; the first line decides the form of the list.

    Args:
      path: the `pairs.csv` of a dataset, LFW's `pairs.txt` (or a list of View 1), the list of AgeDB-30, CALFW or CPLFW,
        YTF's `splits.txt`, or one of CFP's folders `Protocol/Split/FF` and `Protocol/Split/FP`.

    Returns:
      Pairs.

    Raises:
      ValueError: if the content has none of these forms.
      OSError: if it cannot be read.
    """
    if os.path.isdir(path):
        return read_cfp_pairs(path)
    first = next(iter(read_lines(path)), "")
    for pattern, reader in _READERS:
        if pattern.fullmatch(first):
            return reader(path)
    raise malformed(path, 1, first, "the beginning of a list of pairs")
