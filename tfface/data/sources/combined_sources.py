"""Sources made of other sources: with a changed index, or several put together."""

import dataclasses
import itertools
import os
import re

from tfface.data.records import DatasetInfo
from tfface.data.sources.base import Item, Source
from tfface.data.sources.records_source import RecordsSource


class Transformed(Source):
    """A source with another index over the same bytes.

    Args:
      source: the `Source`.
      change: function from an iterable of `Item`s to another: fewer of them, or with other identities. Keys and places
        must stay, for by them the bytes are found.
    """

    def __init__(self, source, change):
        self._source = source
        self._change = change

    @property
    def location(self):
        return self._source.location

    @property
    def fingerprint(self):
        return self._source.fingerprint

    @property
    def skipped(self):
        return self._source.skipped

    def items(self):
        return self._change(self._source.items())

    def read(self, item):
        return self._source.read(item)

    def where(self, item):
        return self._source.where(item)


class Chained(Source):
    """Several sources as one; prefixes keep their keys apart, and their persons where that is wanted.

    Args:
      sources: dict from prefix to `Source`; a prefix is of letters, digits, `_`, `-` and `.`.
      same_persons: whether an identity of the same name in two sources is one person. Then `0001/1.jpg` of the source
        `ms1m` gets the key `0001/ms1m_1.jpg`; else identity and key become `ms1m_0001` and `ms1m_0001/1.jpg`.
    """

    def __init__(self, sources, *, same_persons):
        self._prefixes, self._sources = list(sources), list(sources.values())
        self._same_persons = same_persons

    @property
    def location(self):
        return ", ".join(str(source.location) for source in self._sources)

    @property
    def fingerprint(self):
        return repr([source.fingerprint for source in self._sources])

    @property
    def skipped(self):
        return [
            (f"{prefix}: {place}", reason)
            for prefix, source in zip(self._prefixes, self._sources, strict=True)
            for place, reason in source.skipped
        ]

    def items(self):
        for number, (prefix, source) in enumerate(zip(self._prefixes, self._sources, strict=True)):
            for item in source.items():
                folder, slash, file = item.key.rpartition("/")
                if self._same_persons:
                    key, identity = f"{folder}{slash}{prefix}_{file}", item.identity
                else:
                    key, identity = f"{prefix}_{item.key}", f"{prefix}_{item.identity}"
                yield Item(key, identity, [number, item.key, item.place], item.landmarks)

    def read(self, item):
        number, _, _ = item.place
        return self._sources[number].read(self._original(item))

    def where(self, item):
        number, _, _ = item.place
        return f"{self._prefixes[number]}: {self._sources[number].where(self._original(item))}"

    def _original(self, item):
        _, key, place = item.place
        return dataclasses.replace(item, key=key, place=place)


def merged_source(patterns, prefixes=None, *, same_persons):
    """Puts datasets together.

    Args:
      patterns: list of two or more, as for `RecordsSource`.
      prefixes: as many different strings of letters, digits, `_`, `-` and `.`; default: the names of the datasets.
      same_persons: as for `Chained`.

    Returns:
      A `Chained` source.

    Raises:
      ValueError: for other prefixes, equal names of datasets without prefixes, or missing shards.
    """
    patterns = [os.fspath(pattern) for pattern in patterns]
    if prefixes is None:
        prefixes = [DatasetInfo.load(pattern).name for pattern in patterns]
    for prefix in prefixes:
        if not re.fullmatch(r"\w[\w.-]*", prefix):
            raise ValueError(f"a prefix must be of letters, digits, '_', '-' and '.', got {prefix!r}.")
    if len(patterns) < 2 or len(set(prefixes)) != len(patterns):
        raise ValueError(f"a different prefix for each of two or more datasets is needed, got {prefixes}.")
    for one, other in itertools.permutations(prefixes, 2):
        if other.startswith(f"{one}_"):  # `v2_1` of casia and `1` of casia_v2 would have one name.
            raise ValueError(f"a prefix must not begin another, got {one!r} and {other!r}.")
    sources = map(RecordsSource, patterns)
    return Chained(dict(zip(prefixes, sources, strict=True)), same_persons=same_persons)
