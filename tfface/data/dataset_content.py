"""Content of a dataset, independent of its path: identities in label order, and checksums of the shards."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Sequence

from tfface import files
from tfface.data.records import DatasetInfo, Pattern, resolve_shards, stated_shards

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class DatasetContent:
    """The content of a dataset; equal contents give the same batches under any path and name.

    Args:
      identities: names of the identities; the index of a name is its label.
      shards: SHA-256 of every shard in order, in hexadecimal; None if it is unknown.
    """

    identities: tuple[str, ...]
    shards: tuple[str, ...] | None

    @classmethod
    def load(cls, records: str | os.PathLike) -> "DatasetContent":
        """Reads the content of a dataset from its description.

        Args:
          records: directory of a dataset, or a glob of its shards.

        Raises:
          ValueError: if it is not a complete dataset.
          OSError: if a shard that the description does not list cannot be read.
        """
        return cls(DatasetInfo.load(records).label_map, tuple(checksums(records)))

    def difference(self, other: "DatasetContent") -> str | None:
        """Says in words what another dataset holds instead; None if nothing differs, as far as it is known.

        Args:
          other: the content to compare with.
        """
        if self.identities != other.identities:
            return difference_of_identities(self.identities, other.identities)
        if None in (self.shards, other.shards) or self.shards == other.shards:
            return None
        ours, theirs = set(self.shards or ()), other.shards or ()
        changed = sum(shard not in ours for shard in theirs)
        if not changed:
            return "the same shards, but in another order or number"
        return f"the same identities, but {changed} of its {len(theirs)} shards hold other records"


def checksums(records: Pattern) -> list[str]:
    """Returns the SHA-256 of each shard in hexadecimal; a shard that `dataset.json` lists is not read."""
    paths = resolve_shards(records)
    stated = stated_shards(paths)
    return [stated[path].sha256 if path in stated else files.sha256(pathlib.Path(path)) for path in paths]


def content_sha256(records: Pattern) -> str:
    """Returns the SHA-256 of the content of records, in hexadecimal: that of the checksums of their shards."""
    return hashlib.sha256("\n".join(checksums(records)).encode()).hexdigest()


def difference_of_identities(expected: Sequence[str], found: Sequence[str]) -> str:
    """Says in words how the identities of a dataset differ from the expected ones."""
    known = set(expected)
    others = [name for name in found if name not in known]
    if others:
        return (
            f"{len(others)} of its {len(found)} identities are others, such as {', '.join(map(repr, others[:_NAMED]))}"
        )
    if len(found) < len(expected):
        return f"only {len(found)} of the {len(expected)} identities"
    return "the same identities under other labels"
