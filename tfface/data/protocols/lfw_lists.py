"""Lists of Labeled Faces in the Wild: pairs and people of both views.

Reference:
  Huang et al., Labeled Faces in the Wild, UMass Amherst technical report 07-49, 2007.
"""

import os

import numpy as np

from tfface.data.formats.text_lists import NUMBER, Columns, compile_line, malformed, parse_lines, read_lines
from tfface.data.protocols.pairs import Pairs, pairs_of_list

_NAME = r"([^\s/\\.][^\s/\\]*)"
PAIRS_HEADER = compile_line(rf"{NUMBER}(?:\s+{NUMBER})?")
_GENUINE = Columns(_NAME, NUMBER, NUMBER)
_IMPOSTOR = Columns(_NAME, NUMBER, _NAME, NUMBER)
_COUNT = compile_line(NUMBER)
_PERSON = Columns(_NAME, NUMBER)


def read_lfw_pairs(path: str | os.PathLike) -> Pairs:
    """Reads LFW's `pairs.txt` (View 2) or `pairsDevTrain.txt`, `pairsDevTest.txt` (View 1, a single fold).

    The first line holds the number of folds (absent in View 1) and the number of pairs per class and fold. Every fold
    lists its genuine pairs (`name i j`), then its impostor pairs (`name i other_name j`).

    Args:
      path: path of the file.

    Returns:
      Pairs with keys such as `Abel_Pacheco/Abel_Pacheco_0001.jpg`.

    Raises:
      ValueError: if a line is malformed, or the number of lines differs from that in the first line.
    """
    header, *lines = read_lines(path) or [""]
    match = PAIRS_HEADER.fullmatch(header)
    if not match:
        raise malformed(path, 1, header, "the numbers of folds and of pairs per class")
    folds, per_class = (1, int(match[1])) if match[2] is None else (int(match[1]), int(match[2]))
    if len(lines) != 2 * folds * per_class:
        raise ValueError(f"{path}: line 1 announces {2 * folds * per_class} pairs ({header!r}), got {len(lines)}.")
    left, right, same = [], [], []
    for index, line in enumerate(lines):
        genuine = index // per_class % 2 == 0
        match = (_GENUINE if genuine else _IMPOSTOR).fullmatch(line)
        if genuine and match:
            first, second = (match[1], match[2]), (match[1], match[3])
        elif match:
            first, second = (match[1], match[2]), (match[3], match[4])
        if not match or first == second or (first[0] == second[0]) != genuine:
            form = "a genuine pair (name, i, j)" if genuine else "an impostor pair (name, i, other name, j)"
            raise malformed(path, index + 2, line, form)
        left.append(_key(*first))
        right.append(_key(*second))
        same.append(genuine)
    return pairs_of_list(path, left, right, same, np.arange(len(same)) // (2 * per_class))


def read_lfw_people(path: str | os.PathLike) -> list[dict[str, int]]:
    """Reads LFW's `people.txt` (View 2) or `peopleDevTrain.txt`, `peopleDevTest.txt` (View 1, a single fold).

    View 2 starts with the number of folds. Each fold starts with the number of its people, and has a line `name images`
    per person. View 1 is one such fold without the line before it.

    Args:
      path: path of the file.

    Returns:
      List of folds, each a dict from name to the number of images.

    Raises:
      ValueError: if a line is malformed, a fold has another number of lines than it states, or a name occurs twice.
    """
    lines = read_lines(path)
    # The second line is a count in View 2, and a person in View 1.
    single = len(lines) < 2 or not _COUNT.fullmatch(lines[1])
    at = 0

    def count(noun):
        nonlocal at
        line = lines[at] if at < len(lines) else ""
        at += 1
        if not (match := _COUNT.fullmatch(line)):
            raise malformed(path, at, line, f"the number of {noun}")
        return int(match[1])

    folds: list[dict[str, int]] = []
    names = set()
    for _ in range(1 if single else count("folds")):
        size = count("people of a fold")
        people = {}
        for number, match in parse_lines(path, _PERSON, "a name and a number of images", lines[at : at + size], at + 1):
            if match[1] in names:
                raise malformed(path, number, match[0], "a name that has not occurred before")
            names.add(match[1])
            people[match[1]] = int(match[2])
        if len(people) < size:
            raise ValueError(f"{path}: line {at} announces {size} people, got {len(people)}.")
        folds.append(people)
        at += size
    if at != len(lines):
        raise malformed(path, at + 1, lines[at], "the end of the file")
    return folds


def _key(name, number):
    return f"{name}/{name}_{int(number):04d}.jpg"
