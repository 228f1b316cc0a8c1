"""Several lists of pairs as one.

Reference:
  Wen et al., SphereFace2, ICLR 2022, section 4.1.
"""

import os
from collections.abc import Sequence

import numpy as np

from tfface.evaluation.metrics.completeness import EXAMPLES, Completeness
from tfface.evaluation.metrics.protocol_result import ProtocolResult, roc_curve
from tfface.evaluation.metrics.verification import combined_accuracy
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images
from tfface.protocols.pair_protocol import PairProtocol


class Combined(Protocol):
    """Lists of pairs as one, each fold with one threshold for all; SphereFace2 joins LFW, AgeDB-30, CALFW and CPLFW.

    Args:
      of: list of protocols of pairs, such as `[LFW(root="lfw", pairs="pairs.txt"), Bin(file="calfw.bin")]`.

    Raises:
      ValueError: there are fewer than two, one occurs twice, or one has no pairs of images.
    """

    def __init__(self, of: Sequence[PairProtocol]):
        names = [getattr(each, "name", each) for each in of]
        if len(set(map(str, names))) < max(2, len(names)) or not all(isinstance(each, PairProtocol) for each in of):
            raise ValueError(f"`of` must be at least two different protocols of pairs of images, got {names}.")
        super().__init__("Combined", [path for each in of for path in each.lists])
        self.of = list(of)

    def images(self) -> list[Images]:
        """Returns the sets of all protocols."""
        return [images for each in self.of for images in each.images()]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Measures the accuracy over all pairs, fold by fold."""
        parts, results = [], []
        for protocol, found in zip(self.of, embedded, strict=True):
            pairs, result = protocol.available_pairs(found), protocol.evaluate([found])
            scores = np.empty(len(pairs))
            scores[pairs.same], scores[~pairs.same] = result.genuine_scores, result.impostor_scores
            parts.append((scores, pairs.same, pairs.fold))
            results.append(result)
        accuracy = combined_accuracy(parts)
        known = [result.completeness for result in results if result.completeness]
        absent = [name for each in known for name in each.examples]
        completeness = Completeness(
            sum(each.pairs for each in known), sum(each.missing for each in known), tuple(absent[:EXAMPLES])
        )
        genuine, impostor = (
            np.concatenate([getattr(result, f"{kind}_scores") for result in results])
            for kind in ("genuine", "impostor")
        )
        return ProtocolResult(
            self.name,
            {"accuracy": accuracy.mean, "accuracy std": accuracy.std},
            {"genuine pairs": len(genuine), "impostor pairs": len(impostor)},
            {"of": ", ".join(protocol.name for protocol in self.of)},
            (completeness,),
            {"all pairs": roc_curve(genuine, impostor)},
        )
