"""Folders of images, root/identity/image.jpg, as programs take them in place of records."""

import os
import unicodedata
from collections.abc import Sequence

import numpy as np

from tfface import data
from tfface.data.sources.folders import identity_of


def is_image_folder(images: str | os.PathLike | data.Records | data.ImageFolder) -> bool:
    """Whether images are files in a folder, not records."""
    if isinstance(images, data.Records | data.ImageFolder):
        return isinstance(images, data.ImageFolder)
    return os.path.isdir(images) and not os.path.exists(os.path.join(images, data.records.DATASET_FILE))


def folder_labels(keys: Sequence[str], depth: int = 1) -> np.ndarray:
    """Numbers the identities of a folder by name: int64 [N] for N keys such as identity/image.jpg.

    Args:
      keys: paths of the images below the root, with `/`.
      depth: int, number of folders that name an identity.
    """
    return np.unique(folder_names(keys, depth), return_inverse=True)[1].astype(np.int64)


def folder_names(keys: Sequence[str], depth: int = 1) -> list[str]:
    """Names the identity of each image of a folder; two Unicode forms of one name are one identity, as in conversion.

    Args:
      keys: paths of the images below the root, with `/`.
      depth: int, number of folders that name an identity.
    """
    return [unicodedata.normalize("NFC", identity_of(key, depth)) for key in keys]


def open_images(
    images: str | os.PathLike | data.Records | data.ImageFolder, skip_bad: bool = False, depth: int = 1
) -> data.Records | data.ImageFolder:
    """Opens records or a folder of images; what is open already is returned as it is.

    Args:
      images: records (dataset folder or glob), or a folder of images.
      skip_bad: bool, leave out what cannot be read.
      depth: int, number of folders that name an identity, in a folder of images.

    Raises:
      ValueError: `tfface.data.open_records` or `tfface.data.open_folder` cannot open them.
    """
    if isinstance(images, data.Records | data.ImageFolder):
        return images
    if is_image_folder(images):
        return data.open_folder(images, skip_bad=skip_bad, depth=depth)
    return data.open_records(images, skip_bad=skip_bad)
