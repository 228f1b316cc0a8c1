"""Protocols that are lists of pairs of images."""

import os
from collections.abc import Sequence

import numpy as np

from tfface.data.protocols.pair_lists import read_pairs
from tfface.data.protocols.pairs import Pairs
from tfface.evaluation.metrics.verification_result import VerificationResult
from tfface.evaluation.reports.tables import verify
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images


class PairProtocol(Protocol):
    """Pairs of aligned faces in folds.

    Attributes:
      pairs: the `Pairs`, as their list names the images.

    Args:
      name: str, name of the protocol in the papers.
      root: where the images are, as for `Images`.
      pairs: the `Pairs`.
      lists: as of `Protocol`.
    """

    def __init__(self, name: str, root: str | os.PathLike, pairs: Pairs, lists: Sequence[str | os.PathLike]):
        super().__init__(name, lists)
        self.root = root
        self.pairs = pairs

    def images(self) -> list[Images]:
        """Returns the one set of the images of the pairs."""
        return [Images(self.root, np.unique([self.pairs.left, self.pairs.right]).tolist())]

    def available_pairs(self, embedded: Embedded) -> Pairs:
        """Returns the `Pairs` with both images among the embedded ones, named by their keys."""
        return self.pairs.restrict(embedded.keys)[0]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> VerificationResult:
        """Compares the images of every pair, as `tfface.evaluation.verify` does."""
        (found,) = embedded
        return verify(found.vectors, found.keys, self.available_pairs(found), self.name)


class PairList(PairProtocol):
    """A list of pairs in any published form, with the images that it names.

    Args:
      root: the aligned faces: folder, `.bin` file, or records.
      file: the list, as for `tfface.data.read_pairs`.
      name: str, name in reports; default: that of the file without its extension.
    """

    def __init__(self, root: str | os.PathLike, file: str | os.PathLike, name: str | None = None):
        name = name or os.path.splitext(os.path.basename(os.path.abspath(file)))[0]
        super().__init__(name, root, read_pairs(file), [file])
