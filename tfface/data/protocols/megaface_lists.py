"""Image lists of the MegaFace challenge: distractors, FaceScrub probes, and InsightFace's lists of noisy images.

Reference:
  Kemelmacher-Shlizerman et al., The MegaFace Benchmark, CVPR 2016; Deng et al., ArcFace, CVPR 2019, for the noise.
"""

import os
from collections.abc import Sequence

import numpy as np

from tfface import json_files
from tfface.data.formats.text_lists import check_path, read_lines

# Number of path parts that name an image: `375/37531198@N00/4174611825_0.jpg` (distractor), `Aaron_Eckhart/..._1.png`.
DISTRACTOR_PARTS, PROBE_PARTS = 3, 2


def read_megaface_list(path: str | os.PathLike, parts: int) -> list[str]:
    """Reads a list of distractors or probes: one path per line (`megaface_lst`, `facescrub_lst`), or the devkit's JSON.

    Args:
      path: path of the file; JSON, such as `facescrub_features_list.json`, holds the paths under "path".
      parts: `DISTRACTOR_PARTS` or `PROBE_PARTS`, the number of trailing path parts that form the key.

    Returns:
      List of keys; the first part of a probe's key is its identity.

    Raises:
      ValueError: if the file is not such a list, or a path is unsafe or too short.
      OSError: if it cannot be read.
    """
    lines = read_lines(path)
    if lines and lines[0].lstrip().startswith("{"):
        lines = json_files.read(path, {"path": [str], ...: object})["path"]
    keys = []
    for number, line in enumerate(lines, start=1):
        kept = line.split("/")[-parts:]
        try:
            if len(kept) < parts:
                raise ValueError(f"expected a path of at least {parts} parts, got {line[:200]!r}")
            keys.append(check_path("/".join(kept)))
        except ValueError as error:
            raise ValueError(f"{path}, entry {number}: {error}.") from None
    return keys


def find_noise(keys: Sequence[str], path: str | os.PathLike) -> np.ndarray:
    """Returns the mask of the images that a noise list names.

    Args:
      keys: list of N keys.
      path: path of `megaface_noises.txt` (keys of distractors) or `facescrub_noises.txt` (file names of probes).

    Returns:
      bool [N], True for noise.

    Raises:
      ValueError: if the file is not text.
      OSError: if it cannot be read.
    """
    # Some versions have a number and a tab before the name.
    noise = {line.split("\t")[-1] for line in read_lines(path) if not line.startswith("#")}
    return np.array([key in noise or key.rpartition("/")[2] in noise for key in keys], dtype=bool)
