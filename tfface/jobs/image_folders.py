"""Folders of images, root/identity/image.jpg, as programs take them in place of records."""

import os
from collections.abc import Sequence

import numpy as np

from tfface import data


def is_image_folder(images: str | os.PathLike | data.Records) -> bool:
    """Whether images are files in a folder, not records."""
    if isinstance(images, data.Records):
        return False
    return os.path.isdir(images) and not os.path.exists(os.path.join(images, data.records.DATASET_FILE))


def folder_labels(keys: Sequence[str]) -> np.ndarray:
    """Numbers the identities of a folder by name: int64 [N] for N keys such as identity/image.jpg."""
    return np.unique([key.split("/")[0] for key in keys], return_inverse=True)[1].astype(np.int64)
