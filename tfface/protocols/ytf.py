"""YouTube Faces.

Reference:
  Wolf, Hassner and Maoz, Face Recognition in Unconstrained Videos with Matched Background Similarity, CVPR 2011.
"""

import functools
import os
from collections.abc import Sequence

import numpy as np

from tfface.data.protocols.pairs import Pairs
from tfface.data.protocols.ytf_lists import read_ytf_pairs
from tfface.evaluation.metrics.verification_result import VerificationResult
from tfface.evaluation.protocols.templates import Pooling, Templates, pool_templates
from tfface.evaluation.reports.tables import verify
from tfface.protocols.images import Embedded, Images, open_source
from tfface.protocols.pair_protocol import PairProtocol
from tfface.protocols.pooled import needs, pool


class YTF(PairProtocol):
    """YouTube Faces: 5,000 pairs of videos in ten folds; a video is the mean of its frames.

    Args:
      frames: the aligned faces of the frames, such as `Abel_Pacheco/2/2.123.jpg` of the video `Abel_Pacheco/2`.
      splits: `splits.txt`, or `splits_corrected.txt` with its additional column.
      pooling: how frames become a video, a `Pooling`; default: the mean of the vectors by which images are compared.
    """

    def __init__(self, frames: str | os.PathLike, splits: str | os.PathLike, pooling: Pooling | None = None):
        super().__init__("YTF", frames, read_ytf_pairs(splits), [splits])
        self.pooling = pooling

    @functools.cached_property
    def _names(self):
        videos = set(np.unique([self.pairs.left, self.pairs.right]).tolist())
        frames = [item.key for item in open_source(self.root).items() if _video(item.key) in videos]
        # A video without frames is missing by its own name.
        return frames + sorted(videos - {_video(name) for name in frames})

    def images(self) -> list[Images]:
        """Returns the frames of the videos of the pairs."""
        return [Images(self.root, self._names, **({} if self.pooling is None else needs(self.pooling)))]

    def available_pairs(self, embedded: Embedded) -> Pairs:
        """Returns the `Pairs` of videos with frames."""
        return self.pairs.restrict(sorted({_video(key) for key in embedded.keys}))[0]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> VerificationResult:
        """Compares the videos of every pair."""
        (found,) = embedded
        pairs = self.available_pairs(found)
        needed = set(np.unique([pairs.left, pairs.right]).tolist())
        rows = np.array([row for row, key in enumerate(found.keys) if _video(key) in needed])
        videos = self._pool(found, rows, np.array([_video(found.keys[row]) for row in rows]))
        return verify(videos.embeddings, videos.ids.tolist(), pairs, self.name)

    def _pool(self, found, rows, videos) -> Templates:
        if self.pooling is None:
            return pool_templates(found.vectors[rows], videos, pooling=Pooling(mean="images"))
        # A video is one medium.
        media = np.zeros(len(rows), np.int64)
        return pool(found, rows, videos, media, None, self.pooling)


def _video(key):
    return key.rpartition("/")[0]
