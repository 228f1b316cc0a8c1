"""Five facial landmarks in a table beside the images: eyes, nose tip and mouth corners."""

import numpy as np
import pandas as pd

LANDMARK_COLUMNS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]


def read_landmarks(path):
    """Reads the five landmarks of images from a CSV file with the columns path, x1, y1, ..., x5, y5.

    Args:
      path: the file; its paths are relative to the root of the images, coordinates are in pixels.

    Returns:
      Dict from path to a tuple of 10 floats.

    Raises:
      ValueError: if the file is not such a table, a coordinate is not finite, or a path occurs twice.
      OSError: if it cannot be read.
    """
    try:
        table = pd.read_csv(
            path,
            usecols=["path", *LANDMARK_COLUMNS],
            dtype={"path": str, **dict.fromkeys(LANDMARK_COLUMNS, np.float64)},
            keep_default_na=False,
        )
    except ValueError as error:
        raise ValueError(f"{path}: not a table of path, x1, y1, ..., x5, y5 ({str(error).splitlines()[0]}).") from error
    coordinates = table[LANDMARK_COLUMNS].to_numpy()
    for wrong, reason in (
        (~np.isfinite(coordinates).all(axis=1), "has a coordinate that is not finite"),
        (table["path"].duplicated().to_numpy(), "occurs twice"),
    ):
        if wrong.any():
            raise ValueError(f"{path}: {table['path'][wrong.argmax()]!r} {reason}.")
    return dict(zip(table["path"], map(tuple, coordinates.tolist()), strict=True))
