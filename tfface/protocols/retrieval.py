"""Retrieval: does the ranking of a gallery begin with the query's own class?"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tfface import progress
from tfface.evaluation.metrics.protocol_result import ProtocolResult
from tfface.evaluation.metrics.retrieval import retrieve
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images


class Retrieval(Protocol):
    """Recall@K among the images of a dataset: each searches all others, as in the experiments on Omniglot.

    Args:
      records: dataset folder or glob of records, or folder `root/identity/image.jpg`; images are resized as a whole.
      k: list of K.
      name: str, name in reports; default: that of the folder.
    """

    def __init__(self, records: str | os.PathLike, k: Sequence[int] = (1, 10, 100), name: str | None = None):
        super().__init__(name or pathlib.Path(os.path.abspath(records)).name)
        self.records, self.k = records, tuple(k)

    def images(self) -> list[Images]:
        """Returns all images of the records."""
        return [Images(self.records, None, one_size=False)]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Ranks all other images for each image."""
        (found,) = embedded
        if found.identities is None:
            raise ValueError(f"{self.records}: the identities of the images are unknown.")
        return retrieval_result(self.name, self.k, found.vectors, found.identities)


def retrieval_result(
    name: str,
    k: Sequence[int],
    queries: np.ndarray,
    query_labels: Sequence[str],
    gallery: np.ndarray | None = None,
    gallery_labels: Sequence[str] | None = None,
    **options,
) -> ProtocolResult:
    """Ranks a gallery (or all other queries), as `tfface.evaluation.retrieve` does.

    Args:
      name: str, name of the protocol.
      k: list of K.
      queries, query_labels, gallery, gallery_labels: as for `retrieve`; labels are lists of str.
      **options: further arguments of `ProtocolResult`.
    """
    labels = None if gallery_labels is None else np.array(gallery_labels, dtype=str)
    found = retrieve(
        queries, np.array(query_labels, dtype=str), gallery, labels, k, (max(k),), progress.bar_of("search")
    )
    rates = {f"recall@{limit}": rate for limit, rate in found.recall_at.items()} | {"MAP@R": found.map_at_r}
    counts = {"queries": found.queries, "queries without a match": found.without_match}
    if gallery is not None:
        counts["gallery images"] = len(gallery)
    return ProtocolResult(name, rates, counts, **options)
