"""Table of five facial landmarks per image: eyes, nose tip and mouth corners."""

import math
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from tfface import csv_files
from tfface.data.formats.text_lists import read_csv

LANDMARKS_FILE = "landmarks.csv"
Points = TypeVar("Points", bound=Sequence[float])
LANDMARK_COLUMNS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]


def read_landmarks(path: str | os.PathLike) -> dict[str, tuple[float, ...]]:
    """Reads the landmarks of images from a CSV file with the columns path, x1, y1, ..., x5, y5.

    Args:
      path: the file; paths in it are relative to the root of the images, and coordinates are in pixels.

    Returns:
      Dict from path, in Unicode's form NFC, to a tuple of 10 floats.

    Raises:
      ValueError: if the file is not such a table, a coordinate is not finite, or a path occurs twice.
      OSError: if it cannot be read.
    """
    rows = read_csv(path)
    header = next(rows, ())
    if missing := [name for name in ("path", *LANDMARK_COLUMNS) if name not in header]:
        raise ValueError(f"{path}: not a table of path, x1, y1, ..., x5, y5: column {missing[0]} is missing.")
    columns = [header.index(name) for name in ("path", *LANDMARK_COLUMNS)]
    found = {}
    for row in rows:
        key, *texts = (row[column] for column in columns)
        key = unicodedata.normalize("NFC", key)
        if key in found:
            raise ValueError(f"{path}: {key[:200]!r} occurs twice.")
        try:
            found[key] = parse_landmarks(texts)
        except ValueError as error:
            raise ValueError(f"{path}: {key[:200]!r}: {error}.") from None
    return found


def landmarks_of(key: str, table: Mapping[str, Points]) -> Points | None:
    """Returns the landmarks of an image in a table whose paths may be in Unicode's form NFC, or None."""
    return table.get(key, table.get(unicodedata.normalize("NFC", key)))


def write_landmarks(path: str | os.PathLike, landmarks: Mapping[str, Iterable[float]]) -> None:
    """Writes a table for `read_landmarks`, atomically and without rounding.

    Args:
      path: the file.
      landmarks: dict from path of the image to x1, y1, ..., x5, y5 in pixels.

    Raises:
      OSError: if it cannot be written.
    """
    rows = ((key, *map(float, points)) for key, points in landmarks.items())
    csv_files.write_table(path, ["path", *LANDMARK_COLUMNS], rows)


def parse_landmarks(texts: Sequence[str]) -> tuple[float, ...]:
    """Converts ten strings to coordinates.

    Raises:
      ValueError: if one is not finite; the message is a reason without a name.
    """
    try:
        values = tuple(map(float, texts))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise ValueError(f"expected ten finite coordinates, got {str(texts)[:200]}")
    return values
