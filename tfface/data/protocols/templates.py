"""Template and pair lists of IJB-B and IJB-C, in the form of InsightFace's published metadata.

A template is a set of faces of one person, from still images and video frames; the frames of one video are one medium.

Reference:
  Whitelam et al., IARPA Janus Benchmark-B Face Dataset, CVPR Workshops 2017; Maze et al., IARPA Janus
  Benchmark-C, ICB 2018.
"""

import csv
import os
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfface.data.formats.text_lists import check_path, open_table
from tfface.files import Unreadable, short_reason


class TemplateFaces(NamedTuple):
    """Faces and their templates: N names; template and medium, int64 [N]."""

    names: list[str]
    template: np.ndarray
    medium: np.ndarray


class TemplatePairs(NamedTuple):
    """Pairs of templates: int64 [P] and int64 [P]; bool [P], True for genuine pairs."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray


class DetectedFaces(NamedTuple):
    """Detected faces: N names; landmarks, float64 [N, 5, 2] in pixels (x, y); detection scores, float64 [N]."""

    names: list[str]
    landmarks: np.ndarray
    score: np.ndarray


def read_template_faces(path: str | os.PathLike) -> TemplateFaces:
    """Reads `ijbb_face_tid_mid.txt` or `ijbc_face_tid_mid.txt`: lines `name template medium`.

    Args:
      path: path of the file.

    Returns:
      TemplateFaces.

    Raises:
      ValueError: if the file does not have that form.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [str, np.int64, np.int64], sep=r"\s+", header=None)
    return TemplateFaces(_names(path, table), *(table[column].to_numpy() for column in (1, 2)))


def read_template_pairs(path: str | os.PathLike) -> TemplatePairs:
    """Reads `ijbb_template_pair_label.txt` or `ijbc_template_pair_label.txt`: lines `template template same`.

    Args:
      path: path of the file.

    Returns:
      TemplatePairs.

    Raises:
      ValueError: if the file does not have that form.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [np.int64, np.int64, np.int8], sep=r"\s+", header=None)
    left, right, same = (table[column].to_numpy() for column in range(3))
    if not np.isin(same, (0, 1)).all():
        raise ValueError(f"{path}: expected 1 or 0 in the third column, got {same[~np.isin(same, (0, 1))][0]}.")
    return TemplatePairs(left, right, same == 1)


def read_template_subjects(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads the gallery or the probes of 1:N search, such as `ijbc_1N_gallery_G1.csv`.

    Args:
      path: path of a CSV file with a header; its first two columns are template and subject.

    Returns:
      (template, subject), int64 [N] each; a template occurs once per image.

    Raises:
      ValueError: if the file does not have that form.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [np.int64, np.int64], usecols=[0, 1])
    template, subject = (table[column].to_numpy() for column in table.columns)
    return template, subject


def read_detected_faces(path: str | os.PathLike) -> DetectedFaces:
    """Reads `ijbb_name_5pts_score.txt` or `ijbc_name_5pts_score.txt`: lines `name x1 y1 ... x5 y5 score`.

    Args:
      path: path of the file.

    Returns:
      DetectedFaces.

    Raises:
      ValueError: if the file does not have that form, or a number is not finite.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [str, *[np.float64] * 11], sep=r"\s+", header=None)
    numbers = table[list(range(1, 12))].to_numpy()
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: expected finite numbers, got {int((~np.isfinite(numbers)).sum())} others.")
    return DetectedFaces(_names(path, table), numbers[:, :10].reshape(-1, 5, 2), numbers[:, 10])


def _read_table(path, kinds, **options):
    try:
        with open_table(path) as (file, _):
            table = pd.read_csv(
                file,
                dtype=dict(enumerate(kinds)),
                keep_default_na=False,
                quoting=csv.QUOTE_NONE,
                index_col=False,
                **options,
            )
        if len(table.columns) != len(kinds) or not len(table):
            raise ValueError(f"got {len(table)} lines of {len(table.columns)} columns")
        return table
    except Unreadable:
        raise
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected lines of {len(kinds)} columns ({short_reason(error)}).") from error


def _names(path, table):
    try:
        return [check_path(name) for name in table[0].tolist()]
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
