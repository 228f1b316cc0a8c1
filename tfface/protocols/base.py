"""The interface of all protocols."""

import abc
import os
from collections.abc import Sequence

from tfface.evaluation.metrics.protocol_result import ProtocolResult
from tfface.evaluation.metrics.verification_result import VerificationResult
from tfface.protocols.images import Embedded, Images

Result = VerificationResult | ProtocolResult


class Protocol(abc.ABC):
    """A benchmark: the images that it needs, and what it measures on their embeddings.

    Attributes:
      name: str, name of the protocol in the papers.
      lists: paths of its files beside the images, which identify it by their hashes.
    """

    def __init__(self, name: str, lists: Sequence[str | os.PathLike] = ()):
        self.name = name
        self.lists = tuple(map(str, lists))

    @abc.abstractmethod
    def images(self) -> list[Images]:
        """Returns the sets of images that `evaluate` needs, in its order."""

    @abc.abstractmethod
    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> Result:
        """Measures embeddings.

        Args:
          embedded: an `Embedded` for each set of `images()`. It may lack images; the result says how many.
          folder: existing folder in which long work keeps its state, so that it continues after an interruption; None:
            nowhere.

        Returns:
          `VerificationResult` of a list of pairs of images, `ProtocolResult` of any other protocol.

        Raises:
          ValueError: the embeddings do not allow the measurement.
        """
