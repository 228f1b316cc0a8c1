"""Fiducial points of the CFP dataset: 30 on one half of each face; they give three of the usual five landmarks."""

import os
import pathlib

import numpy as np

from tfface.data.formats.text_lists import read_lines
from tfface.files import short_reason

_POINTS = 30
_EYE, _NOSE, _MOUTH = slice(12, 18), 21, 25


def read_cfp_fiducials(root: str | os.PathLike) -> dict[str, tuple[float, ...]]:
    """Reads eye, nose tip and mouth corner of the annotated half of CFP's faces.

    Args:
      root: folder `Data/Fiducials` of the release, with one file `001/frontal/01.txt` of 30 lines `x,y` per image.

    Returns:
      Dict from the path of the image, `001/frontal/01.jpg`, to x1, y1, ..., x5, y5 in pixels. The other eye and mouth
      corner are NaN. The annotated half is the left one of the image if its eye is left of the nose.

    Raises:
      ValueError: if there are no such files, or one does not hold 30 points.
      OSError: if a file cannot be read.
    """
    root = pathlib.Path(root)
    found = {}
    for path in sorted(root.glob("*/*/*.txt")):
        lines = read_lines(path)
        try:
            points = np.array([line.split(",") for line in lines], np.float64)
        except ValueError as error:
            raise ValueError(f"{path}: not a list of lines x,y ({short_reason(error)}).") from error
        if points.shape != (_POINTS, 2) or not np.isfinite(points).all():
            raise ValueError(f"{path}: expected {_POINTS} lines x,y, got {' x '.join(map(str, points.shape))} numbers.")
        eye, nose, mouth = points[_EYE].mean(axis=0), points[_NOSE], points[_MOUTH]
        right = int(eye[0] >= nose[0])
        landmarks = np.full((5, 2), np.nan)
        landmarks[[right, 2, 3 + right]] = eye, nose, mouth
        found[path.relative_to(root).with_suffix(".jpg").as_posix()] = tuple(landmarks.ravel().tolist())
    if not found:
        raise ValueError(f"{root} holds no files */*/*.txt: it is not CFP's folder Data/Fiducials.")
    return found
