"""InsightFace's `.bin` verification sets."""

import os
import pathlib

from tfface.protocols.pair_protocol import PairProtocol


class Bin(PairProtocol):
    """A verification set of InsightFace: aligned faces and their pairs in one file, such as `agedb_30.bin`.

    Files of one name and different content are in circulation; reports state the hash.

    Args:
      file: the file; its name without the extension is that of the result.
    """

    def __init__(self, file: str | os.PathLike):
        # Imported here, because naming the protocol needs no TensorFlow.
        from tfface.data.sources.insightface_bin import BinSource

        super().__init__(pathlib.Path(file).stem, file, BinSource(file).pairs(), [file])
