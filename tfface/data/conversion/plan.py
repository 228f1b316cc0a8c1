"""Assignment of images to shards; it depends on the keys alone and is fixed before any image is converted."""

import dataclasses
import hashlib
import json
import math
import pathlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from tfface.data.formats.left_out import printable
from tfface.data.formats.shard_names import MAX_SHARDS, shard_name
from tfface.data.formats.text_lists import BAD_NAME, is_name
from tfface.data.sources.base import Item, Source

BYTES_PER_SHARD = 100_000_000

_SAMPLE = 256


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A shard to write.

    Args:
      path: path of the file.
      items: its `Item`s in order.
      labels: dict from identity to label.
      digest: digest of all inputs of the dataset.
    """

    path: pathlib.Path
    items: list[Item]
    labels: dict[str, int]
    digest: str


def list_items(source: Source) -> tuple[list[Item], list[tuple[str, str]]]:
    """Lists the items of a source in the order of their records, by the SHA-256 of the key.

    Identities get names in Unicode's form NFC, so that two forms of one name are one person.

    Args:
      source: the `Source`.

    Returns:
      List of `Item`s, and a list of (place, reason) of bad entries of the index.

    Raises:
      ValueError: if a key occurs twice, or in two Unicode forms.
    """
    items, skipped = [], []
    for item in source.items():
        if reason := _fault(item):
            skipped.append((source.where(item), reason))
        elif unicodedata.is_normalized("NFC", item.identity):
            items.append(item)
        else:
            items.append(dataclasses.replace(item, identity=unicodedata.normalize("NFC", item.identity)))
    items.sort(key=lambda item: hashlib.sha256(item.key.encode()).digest())
    for one, other in zip(items, items[1:], strict=False):
        if one.key == other.key:
            places = sorted({source.where(one), source.where(other)})
            where = f": {places[0]} and {places[1]}" if places[1:] else ""
            raise ValueError(f"{source.location}: key {one.key!r} occurs twice{where}.")
    others = {unicodedata.normalize("NFC", item.key): item.key for item in items}
    if len(others) < len(items):
        key = next(item.key for item in items if others[unicodedata.normalize("NFC", item.key)] != item.key)
        other_key = others[unicodedata.normalize("NFC", key)]
        raise ValueError(
            f"{source.location}: {ascii(key)} and {ascii(other_key)} are one name in two Unicode forms: rename one."
        )
    found = [*source.skipped, *skipped]
    return items, [(printable(place), reason) for place, reason in found]


def digest(items: Iterable[Item], *others: Any) -> str:
    """Returns the SHA-256 of items and of other JSON values, in hexadecimal."""
    state = hashlib.sha256(json.dumps(others).encode())
    for item in items:
        state.update(json.dumps([item.key, item.identity, item.place, item.landmarks]).encode())
    return state.hexdigest()


def split_identities(identities: Iterable[str], holdout: int, *, order: str = "hash", seed: int = 0) -> set[str]:
    """Chooses identities to hold out of training.

    Args:
      identities: names of the identities.
      holdout: number of identities to hold out.
      order: "hash" takes those with the smallest hash of seed and name. The alphabet, and with it language, sex or the
        date of the photograph, does not bias this choice. "last" takes the last by name.
      seed: int; "hash" makes another choice for another seed.

    Returns:
      Set of the held-out names.

    Raises:
      ValueError: if fewer than two identities would remain on either side, or `order` is unknown.
    """
    if order not in ("hash", "last"):
        raise ValueError(f"`order` must be 'hash' or 'last', got {order!r}.")
    names = sorted(set(identities))
    if not 2 <= holdout <= len(names) - 2:
        raise ValueError(
            f"cannot hold out {holdout} of {len(names)} identities: the training set and the held-out set need at "
            "least two each."
        )
    if order == "hash":
        names.sort(key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest(), reverse=True)
    return set(names[-holdout:])


def split_images(items: Iterable[Item], holdout: int) -> set[str]:
    """Chooses images to hold out of training, of people who are in it.

    Args:
      items: the `Item`s, in the order of their hash, so that the choice does not depend on how images are numbered.
      holdout: number of images to hold out of each identity; one image of every identity is always kept.

    Returns:
      Set of the keys of the held-out images.
    """
    keys: dict[str, list[str]] = {}
    for item in items:
        keys.setdefault(item.identity, []).append(item.key)
    return {key for of_one in keys.values() for key in of_one[: min(holdout, len(of_one) - 1)]}


def plan_shards(
    source: Source,
    items: Sequence[Item],
    directory: pathlib.Path,
    name: str,
    num_shards: int | None,
    digest: str,
    label_map: Iterable[str],
) -> list[ShardPlan]:
    """Splits the items of a dataset into shards of equal size.

    Args:
      source: the `Source`.
      items: the dataset's `Item`s in order, at least one.
      directory: directory of the files.
      name: name of the dataset.
      num_shards: number of shards, at most one per item; None for about 100 MB per shard.
      digest: digest of all inputs of the dataset, for the `ShardPlan`s.
      label_map: names of the identities in the order of their labels.

    Returns:
      List of `ShardPlan`s.
    """
    if num_shards is None:
        # Items are ordered by hash, so the first ones are a random sample, the same in every run.
        sample = items[:_SAMPLE]
        mean = sum(_num_bytes(source, item) for item in sample) / len(sample)
        num_shards = math.ceil(mean * len(items) / BYTES_PER_SHARD)
    total = max(1, min(num_shards, len(items), MAX_SHARDS))
    bounds = [len(items) * index // total for index in range(total + 1)]
    labels = {identity: label for label, identity in enumerate(label_map)}
    return [
        ShardPlan(directory / shard_name(name, index, total), list(items[start:stop]), labels, digest)
        for index, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False))
    ]


def _fault(item):
    """Returns why an item cannot be in a dataset, or None."""
    if not (is_name(item.key) and is_name(item.identity)):
        return BAD_NAME
    if item.key.startswith("/") or ".." in item.key.split("/"):
        return "a key that leads out of its dataset"
    if item.landmarks is not None and not (len(item.landmarks) == 10 and all(map(math.isfinite, item.landmarks))):
        return f"landmarks that are not ten finite numbers: {item.landmarks}"
    return None


def _num_bytes(source, item):
    try:
        return len(source.read(item))
    except (OSError, ValueError):  # The conversion will report it.
        return 0
