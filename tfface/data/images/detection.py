"""Landmark detection with the optional package `mtcnn` (MIT, TensorFlow, weights included)."""

import functools
import importlib.resources
from typing import Any

import numpy as np

from tfface.data.images.decoding import check_image, decode_pixels
from tfface.progress import bar as progress_bar

_MIN_SIDE = 24  # Pixels; the detector fails on images smaller than the smallest face that it looks for.


def detect_landmarks(pixels: np.ndarray) -> np.ndarray | None:
    """Detects the landmarks of the main face of a photograph: a large one near the centre.

    Args:
      pixels: uint8 [H, W, 3], RGB.

    Returns:
      float64 [5, 2], x and y in pixels of left eye, right eye, nose tip, and left and right mouth corner (left is the
      left of the image); None if no face is found.

    Raises:
      ValueError: if the package `mtcnn` is not installed.

    Reference: Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks (2016).
    """
    if min(pixels.shape[:2]) < _MIN_SIDE:
        return None
    faces = _mtcnn().detect_faces(pixels, box_format="xyxy", output_type="numpy")
    if not len(faces):
        return None
    # Columns: image, x1, y1, x2, y2, score, five x, five y.
    corners = faces[:, 1:5].reshape(-1, 2, 2)
    areas = (corners[:, 1] - corners[:, 0]).prod(axis=1)
    aside = corners.mean(axis=1) - np.array(pixels.shape[1::-1]) / 2
    main = np.argmax(areas - 2 * (aside * aside).sum(axis=1))
    return faces[main, 6:].reshape(2, 5).T.astype(np.float64)


def detect_all(source: Any, *, progress: bool = False) -> tuple[dict[str, tuple[float, ...]], list[tuple[str, str]]]:
    """Detects the landmarks of all photographs of a source, one after the other.

    Args:
      source: a `tfface.data.sources.Source`.
      progress: whether to show a progress bar on stderr.

    Returns:
      Dict from key to x1, y1, ..., x5, y5 in pixels, for `write_landmarks`, and a list of (place, reason) of the
      photographs without landmarks.

    Raises:
      ValueError: if the package `mtcnn` is not installed.
    """
    _mtcnn()
    found, missing = {}, []
    with progress_bar(desc=f"detect {source.location}", unit=" images", disable=not progress) as bar:
        for item in source.items():
            bar.update()
            try:
                data = source.read(item)
                check_image(data)
            except (OSError, ValueError) as error:
                missing.append((source.where(item), str(error)))
                continue
            landmarks = detect_landmarks(decode_pixels(data).numpy())
            if landmarks is None:
                missing.append((source.where(item), "no face found"))
            else:
                found[item.key] = tuple(landmarks.ravel().tolist())
    return found, [*source.skipped, *missing]


@functools.cache
def _mtcnn():
    try:
        import mtcnn
        from mtcnn import stages
    except ImportError as error:
        raise ValueError(f"detection needs the package mtcnn: pip install 'tfface[detection]' ({error}).") from error
    # Given only a name, the package would unpickle a file of that name in the working directory.
    weights = importlib.resources.files("mtcnn") / "assets" / "weights"
    nets = (("pnet", stages.StagePNet), ("rnet", stages.StageRNet), ("onet", stages.StageONet))
    return mtcnn.MTCNN(stages=[stage(weights=str(weights / f"{net}.lz4")) for net, stage in nets])
