"""Templates: several images or video frames of one person as one embedding (IJB-B, IJB-C, YTF)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfface.evaluation.exact.similarity import UnitVectors, checked_labels

_FLIPS, _LENGTHS, _MEANS = ("none", "sum", "concatenate"), ("unit", "raw"), ("media", "images")


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How a template's images become one embedding; results carry its name, because rates depend on it.

    Args:
      flip: use of the embedding of the flipped image: "none" (there is none), "sum" or "concatenate".
      length: "unit" first divides an image's embedding by its length, "raw" keeps its length as a weight.
      detector: bool, whether to multiply the embedding then by the detector's score of the face.
      mean: "media" averages the images of each medium (video or photograph) and sums over media, as IJB's tools do;
        "images" averages all images equally, such as the frames of a YTF video.

    Raises:
      ValueError: an option is unknown.
    """

    flip: str = "none"
    length: str = "unit"
    detector: bool = False
    mean: str = "media"

    def __post_init__(self):
        for name, known in (("flip", _FLIPS), ("length", _LENGTHS), ("mean", _MEANS), ("detector", (False, True))):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {known}, got {getattr(self, name)!r}.")

    def __str__(self) -> str:
        detector = "detector" if self.detector else "no detector"
        return f"flip {self.flip}, {self.length} length, {detector} score, mean of {self.mean}"


@dataclasses.dataclass(frozen=True, eq=False)
class Templates:
    """Pooled embeddings.

    Attributes:
      ids: int or str [T], distinct and rising.
      embeddings: float64 [T, D].
      pooling: str, the mode.
    """

    ids: np.ndarray
    embeddings: np.ndarray
    pooling: str

    def rows(self, ids: Sequence | np.ndarray) -> np.ndarray:
        """Returns the rows of n templates, int [n].

        Raises:
          ValueError: an id is unknown.
        """
        ids = np.asarray(ids)
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        unknown = self.ids[rows] != ids
        if np.any(unknown):
            raise ValueError(f"template {ids[np.argmax(unknown)].item()!r} has no image.")
        return rows


def pool_templates(
    embeddings: np.ndarray,
    templates: np.ndarray,
    media: np.ndarray | None = None,
    flipped: np.ndarray | None = None,
    detector: np.ndarray | None = None,
    pooling: Pooling | None = None,
) -> Templates:
    """Pools the embeddings of images into embeddings of templates.

    Args:
      embeddings: float [N, D], embeddings of the images.
      templates: int or str [N], the template of every image.
      media: int or str [N], the medium of every image, only with `mean="media"`. Equal numbers in different templates
        are different media.
      flipped: float [N, D], embeddings of the flipped images, only with `flip`.
      detector: float [N], detector scores from 0 up, only with `detector=True`.
      pooling: Pooling; None: the default one.

    Returns:
      Templates; their embeddings are not normalised.

    Raises:
      ValueError: an array is missing or superfluous, shapes or types do not fit, an embedding is zero or not finite,
        or those of a template cancel out.
    """
    pooling = pooling or Pooling()
    for name, array, wanted in (
        ("media", media, pooling.mean == "media"),
        ("flipped", flipped, pooling.flip != "none"),
        ("detector", detector, pooling.detector),
    ):
        if (array is not None) != wanted:
            raise ValueError(f"`{name}` must {'' if wanted else 'not '}be given for pooling by {pooling}.")
    sources = [np.asarray(embeddings)] + ([] if flipped is None else [np.asarray(flipped)])
    for name, source in zip(("embeddings", "flipped"), sources, strict=False):
        UnitVectors(source, name)
    size = len(sources[0])
    if any(source.shape != sources[0].shape for source in sources):
        raise ValueError(f"`flipped` must have the shape of `embeddings` {sources[0].shape}, got {sources[1].shape}.")
    weights = _checked_detector(detector, size)
    names, template = np.unique(checked_labels(templates, size, "templates"), return_inverse=True)
    medium = template if media is None else np.unique(checked_labels(media, size, "media"), return_inverse=True)[1]
    order = np.lexsort((medium, template))
    starts = np.append(np.searchsorted(template[order], np.arange(len(names))), size)
    parts = []
    # Whole templates, about a thousand images at a time.
    cuts = np.unique(np.searchsorted(starts, np.arange(0, size + 1024, 1024)).clip(max=len(names)))
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        rows = order[starts[first] : starts[last]]
        parts.append(_pool(_features(sources, rows, pooling) * weights[rows, None], template[rows], medium[rows]))
    pooled = np.concatenate(parts)
    empty = np.flatnonzero(~pooled.any(axis=1))
    if empty.size:
        raise ValueError(f"the embeddings of template {names[empty[0]].item()!r} cancel out or have no weight.")
    return Templates(names, pooled, str(pooling))


def _features(sources, rows, pooling):
    parts = [source[rows].astype(np.float64) for source in sources]
    features = np.concatenate(parts, axis=1) if pooling.flip == "concatenate" else np.sum(parts, axis=0)
    if pooling.length == "raw":
        return features
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"image {rows[np.argmin(lengths)]} and its flip cancel out.")
    return features / lengths


def _pool(features, template, medium):
    """Averages the images of each medium and sums the means per template; rows must be sorted by both."""
    first = np.flatnonzero(np.append(True, (np.diff(template) != 0) | (np.diff(medium) != 0)))
    sizes = np.diff(np.append(first, len(features)))
    means = np.add.reduceat(features, first) / sizes[:, None]
    return np.add.reduceat(means, np.flatnonzero(np.append(True, np.diff(template[first]) != 0)))


def _checked_detector(detector, size):
    weights = np.ones(size) if detector is None else np.asarray(detector, np.float64)
    if weights.shape != (size,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"`detector` must be finite float [{size}] from 0 up, got shape {weights.shape} of {weights}.")
    return weights
