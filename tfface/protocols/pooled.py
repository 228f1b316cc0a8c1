"""Pooling of embedded images into templates and videos."""

from typing import Any

import numpy as np

from tfface.evaluation.protocols.templates import Pooling, Templates, pool_templates
from tfface.protocols.images import NO_LENGTHS, Embedded


def needs(pooling: Pooling) -> dict[str, Any]:
    """Returns what pooling needs of its images, as arguments of `Images`."""
    return {"apart": True, "flipped": pooling.flip != "none", "lengths": pooling.length == "raw"}


def pool(
    embedded: Embedded,
    rows: np.ndarray,
    templates: np.ndarray,
    media: np.ndarray | None,
    detector: np.ndarray | None,
    pooling: Pooling,
) -> Templates:
    """Pools embedded images.

    Args:
      embedded: the `Embedded`.
      rows: int [N], rows of the images in it.
      templates: int or str [N], template of each image.
      media: int [N], medium of each image; used if the pooling averages media.
      detector: float [N], detection score of each image; used if the pooling weighs by it.
      pooling: the `Pooling`.

    Returns:
      `Templates`.

    Raises:
      ValueError: the pooling needs what the embeddings have not: lengths, or embeddings of the flipped images.
    """
    if pooling.length == "raw" and not embedded.raw:
        raise ValueError(NO_LENGTHS)
    if pooling.flip != "none" and embedded.flipped is None:
        raise ValueError(
            f"there are no embeddings of the flipped images: pooling must have flip='none', got {pooling.flip!r}."
        )
    return pool_templates(
        embedded.image[rows],
        templates,
        media if pooling.mean == "media" else None,
        embedded.flipped[rows] if pooling.flip != "none" and embedded.flipped is not None else None,
        detector if pooling.detector else None,
        pooling,
    )
