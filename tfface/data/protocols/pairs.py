"""Verification pairs, and the table that stores them beside a dataset."""

import dataclasses
import itertools
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from tfface import csv_files
from tfface.data.formats.image_files import without_extension
from tfface.data.formats.text_lists import read_csv
from tfface.evaluation.metrics.completeness import EXAMPLES, Completeness

_COLUMNS = ("left", "right", "same", "fold")
_FOLD = re.compile(r"\d{1,6}", re.ASCII)
_MAX_PAIRS = 1 << 22
# An array of strings takes four bytes per character, and as many characters per string as the longest one has.
_MAX_COLUMN_BYTES = 1 << 32
_FOLDS = 10


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Image pairs of a verification protocol, in its order; the columns become read-only arrays.

    Args:
      left: str [P], key of the first image of every pair.
      right: str [P], key of the second image.
      same: bool [P], True for a genuine pair (one person), False for an impostor pair.
      fold: int [P], fold of every pair, counted from 0.
      completeness: how much of an official list these pairs are, as `restrict` found; None if that is unknown.

    Raises:
      ValueError: if there are no pairs, lengths differ, or a column has another type.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    completeness: Completeness | None = None

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

    def __len__(self) -> int:
        return len(self.same)

    def __repr__(self) -> str:
        """Returns one line without the keys."""
        genuine, folds = int(self.same.sum()), len(np.unique(self.fold))
        return f"Pairs({genuine} genuine, {len(self) - genuine} impostor, in {folds} folds)"

    def restrict(self, keys: Iterable[str]) -> tuple["Pairs", int]:
        """Keeps the pairs for which both images are available, for example those of held-out people.

        A name of the list is an available key if they are equal, or equal in Unicode's form NFC, or equal without the
        extension of a picture where that is unambiguous. Folds keep their order and are renumbered from 0 without gaps.

        Args:
          keys: the available images.

        Returns:
          (Pairs, dropped): the remaining pairs, which name the available keys, and the number of dropped ones.

        Raises:
          ValueError: if no pair remains.
        """
        available = set(keys)
        names, places = np.unique(np.concatenate([self.left, self.right]), return_inverse=True)
        found = match_names(names.tolist(), available)
        left, right = np.split(np.array([key is not None for key in found])[places], 2)
        keep = left & right
        if not keep.any():
            raise ValueError(
                f"none of the {len(self)} pairs has both images among the {len(available)} keys: "
                f"the pairs name images like {str(self.left[0])!r}, the keys are like {sorted(available)[:1]}."
            )
        left, right = np.split(np.array([key or "" for key in found])[places], 2)
        fold = np.unique(self.fold[keep], return_inverse=True)[1]
        absent = [name for name, key in zip(names.tolist(), found, strict=True) if key is None]
        dropped = int(np.sum(~keep))
        completeness = Completeness(len(self), dropped, tuple(absent[:EXAMPLES]))
        return Pairs(left[keep], right[keep], self.same[keep], fold, completeness), dropped


def match_names(names: Sequence[str], keys: Collection[str]) -> list[str | None]:
    """Finds the images that a list names, as `Pairs.restrict` does.

    Args:
      names: the names, all different.
      keys: the available images; a set or dict.

    Returns:
      List with the key of each name, or None.
    """
    found: list[str | None] = [name if name in keys else None for name in names]
    if None not in found:
        return found
    composed, stems = _by(_nfc, keys), _by(_stem, keys)
    rivals = _by(_stem, map(_nfc, names))
    for place, name in enumerate(names):
        if found[place] is None:
            alike = composed.get(_nfc(name))
            if alike is None and len(rivals[_stem(name)]) == 1:
                alike = stems.get(_stem(name), ())
            found[place] = next(iter(alike)) if alike and len(alike) == 1 else None
    return found


def _by(form, names):
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(form(name), set()).add(name)
    return groups


def _nfc(name):
    return unicodedata.normalize("NFC", name)


def _stem(name):
    return without_extension(_nfc(name))


def write_pairs(path: str | os.PathLike, pairs: Pairs) -> None:
    """Writes pairs as a CSV file with the columns left, right, same (0 or 1) and fold, atomically.

    Args:
      path: path of the file, usually `pairs.csv` in the directory of the dataset that holds the images.
      pairs: the `Pairs`.

    Raises:
      OSError: if it cannot be written.
    """
    columns = (pairs.left.tolist(), pairs.right.tolist(), pairs.same.astype(int).tolist(), pairs.fold.tolist())
    csv_files.write_table(path, _COLUMNS, zip(*columns, strict=True))


def read_pairs_table(path: str | os.PathLike) -> Pairs:
    """Reads a table of pairs written by `write_pairs`.

    Args:
      path: path of the file.

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
            raise ValueError(f"{path}: expected 0 or 1 for same and a number for fold, got {str(row)[:200]}.")
    return pairs_of_list(path, left, right, [one == "1" for one in same], list(map(int, fold)))


def pairs_of_list(
    path: str | os.PathLike,
    left: Sequence[str],
    right: Sequence[str],
    same: Sequence[bool],
    fold: Sequence[int] | np.ndarray | None = None,
) -> Pairs:
    """Makes `Pairs` from the columns of a list.

    Args:
      path: path of the list, for messages.
      left, right: keys of the images.
      same: whether each pair is genuine.
      fold: fold of each pair; default: those of `folds_of_classes`.

    Returns:
      Pairs.

    Raises:
      ValueError: if there are too few pairs, or the names are too long to fit in memory.
    """
    for names in (left, right):
        if 4 * len(names) * max(map(len, names), default=0) > _MAX_COLUMN_BYTES:
            raise ValueError(f"{path}: {len(names)} names of up to {max(map(len, names))} characters are too many.")
    try:
        folds = folds_of_classes(same) if fold is None else fold
        return Pairs(np.array(left), np.array(right), np.array(same), np.array(folds))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def folds_of_classes(same: Sequence[bool] | np.ndarray) -> np.ndarray:
    """Splits pairs without folds into ten: consecutive tenths of the genuine pairs and of the impostor pairs.

    If a list alternates between the classes fold by fold, as that of AgeDB-30 does, these are its own ten parts.

    Args:
      same: bool [P].

    Returns:
      int64 [P].

    Raises:
      ValueError: if a class has fewer than ten pairs.
    """
    same = np.asarray(same, dtype=bool)
    fold = np.empty(len(same), dtype=np.int64)
    for name, members in (("genuine", np.flatnonzero(same)), ("impostor", np.flatnonzero(~same))):
        if len(members) < _FOLDS:
            raise ValueError(f"{_FOLDS} folds need at least {_FOLDS} {name} pairs, got {len(members)}.")
        fold[members] = np.arange(len(members)) * _FOLDS // len(members)
    return fold
