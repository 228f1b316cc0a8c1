"""Stanford Online Products.

Reference:
  Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
"""

import os
from collections.abc import Sequence

from tfface.data.protocols.retrieval_lists import read_sop_images
from tfface.evaluation.metrics.protocol_result import ProtocolResult
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images
from tfface.protocols.retrieval import retrieval_result


class SOP(Protocol):
    """Stanford Online Products: Recall@K of the test images, each of which searches all others.

    Args:
      root: the folder `Stanford_Online_Products`, with `Ebay_test.txt`; photographs are resized as a whole.
      k: list of K.
    """

    def __init__(self, root: str | os.PathLike, k: Sequence[int] = (1, 10, 100, 1000)):
        path = os.path.join(root, "Ebay_test.txt")
        super().__init__("SOP", [path])
        self.root, self.k = root, tuple(k)
        self._names, self._classes = read_sop_images(path)

    def images(self) -> list[Images]:
        """Returns the test images."""
        return [Images(self.root, self._names, one_size=False)]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Ranks all other images for each image."""
        (found,) = embedded
        rows, completeness = found.find(self._names)
        classes = [name for name, row in zip(self._classes, rows, strict=True) if row >= 0]
        vectors = found.vectors[rows[rows >= 0]]
        return retrieval_result(self.name, self.k, vectors, classes, completeness=(completeness,))
