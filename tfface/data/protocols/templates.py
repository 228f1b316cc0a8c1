"""Template and pair lists of IJB-B and IJB-C, in the form in which InsightFace publishes their metadata.

A template is a set of faces of one person, still images and frames of videos; frames of one video are one medium.

Reference:
  Whitelam et al., IARPA Janus Benchmark-B Face Dataset, CVPR Workshops 2017; Maze et al., IARPA Janus
  Benchmark-C, ICB 2018.
"""

import csv
import typing

import numpy as np
import pandas as pd

from tfface.data.formats.text_lists import check_path, first_line, open_table
from tfface.files import Unreadable


class TemplateFaces(typing.NamedTuple):
    """Faces and the templates they belong to: names, list of N str; template and medium, int64 [N]."""

    names: list
    template: np.ndarray
    medium: np.ndarray


class TemplatePairs(typing.NamedTuple):
    """Comparisons of templates: int64 [P], int64 [P], and bool [P], whether they are of one person."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray


class DetectedFaces(typing.NamedTuple):
    """Faces: N names, their landmarks, float64 [N, 5, 2] in pixels (x, y), and the detector's scores, float64 [N]."""

    names: list
    landmarks: np.ndarray
    score: np.ndarray


def read_template_faces(path):
    """Reads `ijbb_face_tid_mid.txt` or `ijbc_face_tid_mid.txt`: lines `name template medium`.

    Args:
      path: of the file.

    Returns:
      TemplateFaces.

    Raises:
      ValueError: if the file is not of that form.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [str, np.int64, np.int64], sep=r"\s+", header=None)
    return TemplateFaces(_names(path, table), *(table[column].to_numpy() for column in (1, 2)))


def read_template_pairs(path):
    """Reads `ijbb_template_pair_label.txt` or `ijbc_template_pair_label.txt`: lines `template template same`.

    Args:
      path: of the file.

    Returns:
      TemplatePairs.

    Raises:
      ValueError: if the file is not of that form.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [np.int64, np.int64, np.int8], sep=r"\s+", header=None)
    left, right, same = (table[column].to_numpy() for column in range(3))
    if not np.isin(same, (0, 1)).all():
        raise ValueError(f"{path}: expected 1 or 0 in the third column, got {same[~np.isin(same, (0, 1))][0]}.")
    return TemplatePairs(left, right, same == 1)


def read_template_subjects(path):
    """Reads a gallery or the probes of 1:N search, such as `ijbc_1N_gallery_G1.csv`: CSV, first template and subject.

    Args:
      path: of the file; it has a header, and may have more columns.

    Returns:
      (template, subject), int64 [N] each; a template is named once for each of its images.

    Raises:
      ValueError: if the file is not of that form.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [np.int64, np.int64], usecols=[0, 1])
    return tuple(table[column].to_numpy() for column in table.columns)


def read_detected_faces(path):
    """Reads `ijbb_name_5pts_score.txt` or `ijbc_name_5pts_score.txt`: lines `name x1 y1 ... x5 y5 score`.

    Args:
      path: of the file.

    Returns:
      DetectedFaces.

    Raises:
      ValueError: if the file is not of that form, or a number is not finite.
      OSError: if it cannot be read.
    """
    table = _read_table(path, [str, *[np.float64] * 11], sep=r"\s+", header=None)
    numbers = table[list(range(1, 12))].to_numpy()
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: expected finite numbers, got others in {int((~np.isfinite(numbers)).sum())} places.")
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
        raise ValueError(f"{path}: expected lines of {len(kinds)} columns ({first_line(error)}).") from error


def _names(path, table):
    try:
        return [check_path(name) for name in table[0].tolist()]
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
