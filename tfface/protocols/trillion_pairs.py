"""Trillion-Pairs.

Reference:
  Deng et al., ArcFace, CVPR 2019, section 3.3 and Table 8.
"""

import os
from collections.abc import Sequence

import numpy as np

from tfface import progress
from tfface.evaluation.metrics.protocol_result import ProtocolResult, at
from tfface.evaluation.protocols.exhaustive import exhaustive_tar_at_far
from tfface.evaluation.protocols.trillion_pairs import identify_at_fpr
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images

_FARS, _FPRS = (1e-9, 1e-8, 1e-7, 1e-6), (1e-3, 1e-2)


class TrillionPairs(Protocol):
    """Trillion-Pairs: verification over all pairs of probes and distractors, and identification of the probes.

    Args:
      probes: the aligned probes, `root/person/image.jpg`: folder or records.
      distractors: the aligned distractors, images of other people: folder or records.
    """

    def __init__(self, probes: str | os.PathLike, distractors: str | os.PathLike):
        super().__init__("Trillion-Pairs")
        self.places = (probes, distractors)

    def images(self) -> list[Images]:
        """Returns the probes, then the distractors."""
        return [Images(place, None) for place in self.places]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Measures both; verification keeps its state in the folder."""
        probes, distractors = embedded
        if probes.identities is None:
            raise ValueError(f"{self.places[0]}: the people of the probes are unknown; folders name them.")
        labels = np.array(probes.identities, dtype=str)
        checkpoint = None if folder is None else os.path.join(folder, "trillion-pairs.npz")
        verified = exhaustive_tar_at_far(
            probes.vectors, labels, _FARS, distractors.vectors, checkpoint, progress=progress.bar_of("compare")
        )
        search = progress.bar_of("search")
        found = identify_at_fpr(probes.vectors, labels, distractors.vectors, _FPRS, progress=search)
        rates = {f"Ver{at(far)}": point.tar for far, point in verified.tar_at_far.items()}
        rates |= {f"Id{at(fpr)}": point.tpir for fpr, point in found.items()}
        counts = {
            "probes": len(labels),
            "distractors": len(distractors.keys),
            "genuine pairs": verified.genuine,
            "impostor pairs": verified.impostors,
        }
        return ProtocolResult(self.name, rates, counts)
