"""Verification pairs: which two images are compared, and whether they show one person; their table beside a dataset."""

import dataclasses
import itertools
import re

import numpy as np

from tfface import csv_files
from tfface.data.formats.text_lists import read_csv

_COLUMNS = ("left", "right", "same", "fold")
_FOLD = re.compile(r"\d{1,6}", re.ASCII)
_MAX_PAIRS = 1 << 22
# Of a column: an array of strings takes four bytes a character, and each as many as the longest.
_MAX_COLUMN_BYTES = 1 << 32
_FOLDS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Image pairs of a verification protocol, in its order; the columns become read-only arrays.

    Args:
      left: str [P], key of the first image of every pair.
      right: str [P], key of the second image.
      same: bool [P], True for a genuine pair (one person), False for an impostor pair.
      fold: int [P], the fold of every pair, counted from 0.

    Raises:
      ValueError: if there is no pair, lengths differ, or a column has another type.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray

    def __post_init__(self):
        for name, kinds in (("left", "U"), ("right", "U"), ("same", "b"), ("fold", "iu")):
            column = np.array(getattr(self, name))
            if column.ndim != 1 or column.dtype.kind not in kinds or len(column) != len(self.left) or not len(column):
                expected = {"U": "str", "b": "bool", "iu": "int"}[kinds]
                raise ValueError(
                    f"`{name}` must be {expected} [{len(self.left) or 'P > 0'}], got {column.dtype} {column.shape}."
                )
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def __len__(self):
        return len(self.same)

    def restrict(self, keys):
        """Keeps the pairs whose two images are both available, for instance those of held-out people.

        Folds keep their order and are renumbered from 0 without gaps.

        Args:
          keys: iterable of str, the available images.

        Returns:
          (Pairs, dropped): the pairs that are left, and how many are not (int).

        Raises:
          ValueError: if no pair is left.
        """
        keys = np.array(sorted(set(keys)), dtype=str)
        keep = np.isin(self.left, keys) & np.isin(self.right, keys)
        if not keep.any():
            raise ValueError(
                f"none of the {len(self)} pairs has both images among the {len(keys)} keys: "
                f"the pairs name images like {str(self.left[0])!r}, the keys are like {keys[:1].tolist()}."
            )
        fold = np.unique(self.fold[keep], return_inverse=True)[1]
        return Pairs(self.left[keep], self.right[keep], self.same[keep], fold), int(np.sum(~keep))


def write_pairs(path, pairs):
    """Writes pairs as a CSV file with the columns left, right, same (0 or 1) and fold, atomically.

    Args:
      path: of the file, usually `pairs.csv` in the directory of the dataset that holds the images.
      pairs: the `Pairs`.

    Raises:
      OSError: if it cannot be written.
    """
    columns = (pairs.left.tolist(), pairs.right.tolist(), pairs.same.astype(int).tolist(), pairs.fold.tolist())
    csv_files.write_table(path, _COLUMNS, zip(*columns, strict=True))


def read_pairs_table(path):
    """Reads what `write_pairs` wrote.

    Args:
      path: of the file.

    Returns:
      Pairs.

    Raises:
      ValueError: if it is not such a table.
      OSError: if it cannot be read.
    """
    header, *rows = list(itertools.islice(read_csv(path), _MAX_PAIRS + 2)) or [()]
    if header != _COLUMNS or len(rows) > _MAX_PAIRS:
        raise ValueError(
            f"{path}: expected at most {_MAX_PAIRS} rows of {', '.join(_COLUMNS)}, got {len(rows)} of "
            f"{str(header)[:200]}."
        )
    left, right, same, fold = zip(*rows, strict=True) if rows else ((),) * 4
    for row in zip(same, fold, strict=True):
        if row[0] not in ("0", "1") or not _FOLD.fullmatch(row[1]):
            raise ValueError(f"{path}: expected 0 or 1 as same and a number as fold, got {row}.")
    return pairs_of_list(path, left, right, [one == "1" for one in same], list(map(int, fold)))


def pairs_of_list(path, left, right, same, fold=None):
    """Makes the pairs that a list holds.

    Args:
      path: of the list, for messages.
      left, right: lists of str.
      same: list of bool.
      fold: list of int; without, folds are dealt by `folds_of_classes`.

    Returns:
      Pairs.

    Raises:
      ValueError: if there are too few pairs, or names so long that they cannot be held.
    """
    for names in (left, right):
        if 4 * len(names) * max(map(len, names), default=0) > _MAX_COLUMN_BYTES:
            raise ValueError(f"{path}: {len(names)} names of up to {max(map(len, names))} characters are too many.")
    try:
        return Pairs(left, right, same, folds_of_classes(same) if fold is None else fold)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def folds_of_classes(same):
    """Deals pairs without folds into ten: consecutive tenths of the genuine pairs and of the impostor pairs.

    For lists that alternate between classes fold by fold, as those of AgeDB-30 do, these are their ten parts in order.

    Args:
      same: bool [P].

    Returns:
      int [P].

    Raises:
      ValueError: if there are less than ten pairs of a class.
    """
    same = np.asarray(same, dtype=bool)
    fold = np.empty(len(same), dtype=np.int64)
    for name, members in (("genuine", np.flatnonzero(same)), ("impostor", np.flatnonzero(~same))):
        if len(members) < _FOLDS:
            raise ValueError(f"{_FOLDS} folds need {_FOLDS} {name} pairs at least, got {len(members)}.")
        fold[members] = np.arange(len(members)) * _FOLDS // len(members)
    return fold
