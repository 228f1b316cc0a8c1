"""Pairs of Celebrities in Frontal-Profile.

Reference:
  Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016.
"""

import itertools
import os
import pathlib

from tfface.data.formats.text_lists import NUMBER, compile_line, malformed, parse_lines
from tfface.data.protocols.pairs import Pairs, pairs_of_list

_IMAGE = compile_line(rf"{NUMBER}\s+(?:\.\./)?Data/Images/(\w+/(?:frontal|profile)/\w+\.\w+)")
_PAIR = compile_line(rf"{NUMBER}\s*,\s*{NUMBER}")


def read_cfp_pairs(split_folder: str | os.PathLike) -> Pairs:
    """Reads the frontal-frontal or frontal-profile pairs of CFP.

    Args:
      split_folder: `Protocol/Split/FF` or `Protocol/Split/FP` of the official layout. Every fold `NN` has `same.txt`
        and `diff.txt` with lines `i,j`. These are line numbers, from 1, in `Protocol/image_list_F.txt`; in FP, j refers
        to `Protocol/image_list_P.txt`.

    Returns:
      Pairs with keys relative to `Data/Images`, such as `001/frontal/01.jpg`; in every fold genuine pairs come first.

    Raises:
      ValueError: if the folder has another name, a fold is missing, or a line is malformed, refers to a line outside
        its list, or contradicts the identities in the paths.
    """
    # The name of the folder decides to which list j refers; a relative "." would hide it.
    folder = pathlib.Path(os.path.abspath(split_folder))
    letters = {"FF": "F", "FP": "FP"}.get(folder.name)
    if letters is None:
        raise ValueError(f"a folder of CFP pairs must be named FF or FP, got {str(split_folder)!r}.")
    lists = [_read_images(folder.parents[1] / f"image_list_{letter}.txt") for letter in letters]
    folds = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    if not folds or folds != list(range(1, len(folds) + 1)):
        raise ValueError(f"{folder} must hold folds 01, 02, ... without gaps, got {folds}.")
    left, right, same, fold = [], [], [], []
    for number, (name, genuine) in itertools.product(folds, (("same.txt", True), ("diff.txt", False))):
        path = folder / f"{number:02d}" / name
        for line_number, match in parse_lines(path, _PAIR, "i,j"):
            try:
                first, second = lists[0][int(match[1]) - 1], lists[-1][int(match[2]) - 1]
            except IndexError:
                raise malformed(path, line_number, match[0], "i,j within the image lists") from None
            if first == second or (first.split("/")[0] == second.split("/")[0]) != genuine:
                people = "two images of one person" if genuine else "images of two people"
                raise malformed(path, line_number, match[0], f"{people} (got {first} and {second})")
            left.append(first)
            right.append(second)
            same.append(genuine)
            fold.append(number - 1)
    return pairs_of_list(split_folder, left, right, same, fold)


def _read_images(path):
    expected = "'<line number> Data/Images/<person>/<frontal or profile>/<image>'"
    images = []
    for number, match in parse_lines(path, _IMAGE, expected):
        if int(match[1]) != number:
            raise malformed(path, number, match[0], expected)
        images.append(match[2])
    return images
