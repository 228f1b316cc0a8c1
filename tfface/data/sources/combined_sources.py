"""Sources made of other sources: one with a changed index, or several merged ones."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from tfface.data.formats.shard_names import check_name
from tfface.data.records import DatasetInfo
from tfface.data.sources.base import Item, Source
from tfface.data.sources.records_source import RecordsSource


class Transformed(Source):
    """A source with another index over the same bytes.

    Args:
      source: the `Source`.
      change: function from an iterable of `Item`s to another one; it may drop items or change their identities. Keys
        and places must not change, because the bytes are found by them.
    """

    def __init__(self, source: Source, change: Callable[[Iterable[Item]], Iterable[Item]]):
        self._source = source
        self._change = change

    @property
    def location(self) -> str | os.PathLike:
        return self._source.location

    @property
    def fingerprint(self) -> str:
        return self._source.fingerprint

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return self._source.skipped

    @property
    def passed_over(self) -> Mapping[str, int]:
        return self._source.passed_over

    @property
    def cut_off(self) -> Set[str]:
        return self._source.cut_off

    def items(self) -> Iterable[Item]:
        """Returns the changed items."""
        return self._change(self._source.items())

    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item."""
        return self._source.read(item)

    def where(self, item: Item) -> str:
        """Names an item as its source does."""
        return self._source.where(item)


class Chained(Source):
    """Several sources as one; prefixes keep their keys apart and, on request, their identities.

    Args:
      sources: dict from prefix to `Source`; a prefix consists of letters, digits, `_`, `-` and `.`.
      same_persons: whether the same identity name in two sources is one person. Then `0001/1.jpg` of the source `ms1m`
        gets the key `0001/ms1m_1.jpg`; otherwise identity and key become `ms1m_0001` and `ms1m_0001/1.jpg`.
    """

    def __init__(self, sources: Mapping[str, Source], *, same_persons: bool):
        self._prefixes, self._sources = list(sources), list(sources.values())
        self._same_persons = same_persons

    @property
    def location(self) -> str:
        return ", ".join(str(source.location) for source in self._sources)

    @property
    def fingerprint(self) -> str:
        return repr([source.fingerprint for source in self._sources])

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return [
            (f"{prefix}: {place}", reason)
            for prefix, source in zip(self._prefixes, self._sources, strict=True)
            for place, reason in source.skipped
        ]

    def items(self) -> Iterator[Item]:
        """Yields the items of all sources, one source after the other."""
        for number, (prefix, source) in enumerate(zip(self._prefixes, self._sources, strict=True)):
            for item in source.items():
                folder, slash, file = item.key.rpartition("/")
                if self._same_persons:
                    key, identity = f"{folder}{slash}{prefix}_{file}", item.identity
                else:
                    key, identity = f"{prefix}_{item.key}", f"{prefix}_{item.identity}"
                yield Item(key, identity, [number, item.key, item.place], item.landmarks)

    def read(self, item: Item) -> bytes:
        """Returns the encoded image of an item."""
        number, _, _ = item.place
        return self._sources[number].read(self._original(item))

    def where(self, item: Item) -> str:
        """Names an item by its prefix and as its source does."""
        number, _, _ = item.place
        return f"{self._prefixes[number]}: {self._sources[number].where(self._original(item))}"

    def _original(self, item):
        _, key, place = item.place
        return dataclasses.replace(item, key=key, place=place)


def merged_source(
    patterns: Iterable[str | os.PathLike], prefixes: Sequence[str] | None = None, *, same_persons: bool
) -> Chained:
    """Merges datasets into one source.

    Args:
      patterns: two or more patterns, as for `RecordsSource`.
      prefixes: a distinct string of letters, digits, `_`, `-` and `.` per dataset; default: the names of the datasets.
      same_persons: as for `Chained`.

    Returns:
      A `Chained` source.

    Raises:
      ValueError: for other prefixes, datasets of the same name without prefixes, or missing shards.
    """
    patterns = [os.fspath(pattern) for pattern in patterns]
    if prefixes is None:
        prefixes = [DatasetInfo.load(pattern).name for pattern in patterns]
    for prefix in prefixes:
        check_name(prefix, "a prefix")
    if len(patterns) < 2 or len(set(prefixes)) != len(patterns):
        raise ValueError(f"expected a distinct prefix for each of two or more datasets, got {prefixes}.")
    for one, other in itertools.permutations(prefixes, 2):
        if other.startswith(f"{one}_"):  # `v2_1` of casia and `1` of casia_v2 would get the same name.
            raise ValueError(f"a prefix must not be the start of another, got {one!r} and {other!r}.")
    sources = map(RecordsSource, patterns)
    return Chained(dict(zip(prefixes, sources, strict=True)), same_persons=same_persons)
