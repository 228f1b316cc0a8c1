"""In-Shop Clothes Retrieval of DeepFashion.

Reference:
  Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich Annotations, CVPR 2016.
"""

import os
from collections.abc import Sequence

from tfface.data.protocols.retrieval_lists import read_in_shop_images
from tfface.evaluation.metrics.protocol_result import ProtocolResult
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images
from tfface.protocols.retrieval import retrieval_result


class InShop(Protocol):
    """In-Shop Clothes Retrieval: Recall@K of the queries in the gallery.

    Args:
      root: folder that the paths of the list (`img/WOMEN/...`) are relative to; photographs are resized as a whole.
      partition: the list, `list_eval_partition.txt`.
      k: list of K.
    """

    def __init__(
        self, root: str | os.PathLike, partition: str | os.PathLike, k: Sequence[int] = (1, 10, 20, 30, 40, 50)
    ):
        super().__init__("In-Shop", [partition])
        self.root, self.k = root, tuple(k)
        self._queries, self._gallery = read_in_shop_images(partition)
        if not self._queries.names or not self._gallery.names:
            raise ValueError(f"{partition} lists no queries or no gallery.")

    def images(self) -> list[Images]:
        """Returns the queries and the gallery, which lie in one place."""
        return [Images(self.root, [*self._queries.names, *self._gallery.names], one_size=False)]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Ranks the gallery for each query."""
        (found,) = embedded
        parts, completeness = [], []
        for listed, noun in ((self._queries, "queries"), (self._gallery, "gallery images")):
            rows, complete = found.find(listed.names, noun)
            if not (rows >= 0).any():
                raise ValueError(f"none of the {len(rows)} {noun} has an embedding.")
            parts.append(found.vectors[rows[rows >= 0]])
            parts.append([name for name, row in zip(listed.classes, rows, strict=True) if row >= 0])
            completeness.append(complete)
        return retrieval_result(self.name, self.k, *parts, completeness=tuple(completeness))
