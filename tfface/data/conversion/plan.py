"""Which image goes into which shard: fixed by the keys alone, before any image is converted."""

import dataclasses
import hashlib
import json
import math
import os

BYTES_PER_SHARD = 100_000_000
MAX_SHARDS = 99_999  # of five digits

_SAMPLE = 256


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A shard to be written.

    Args:
      path: `pathlib.Path` of the file.
      items: its `Item`s in order.
      labels: dict from identity to label.
      digest: of all that the dataset is made of.
    """

    path: os.PathLike
    items: list
    labels: dict
    digest: str


def list_items(source):
    """Lists the items of a source in the order of their records, by the SHA-256 of the key.

    Args:
      source: the `Source`.

    Returns:
      List of `Item`s, and list of (place, reason) of what is bad in the index.

    Raises:
      ValueError: if a key occurs twice.
    """
    items, skipped = [], []
    for item in source.items():
        if reason := _fault(item):
            skipped.append((source.where(item), reason))
        else:
            items.append(item)
    items.sort(key=lambda item: hashlib.sha256(item.key.encode()).digest())
    for one, other in zip(items, items[1:], strict=False):
        if one.key == other.key:
            raise ValueError(f"{source.location}: key {one.key!r} occurs twice.")
    found = [*source.skipped, *skipped]
    return items, [(place if place.isprintable() else ascii(place), reason) for place, reason in found]


def digest(items, *others):
    """Returns a digest of items and of other JSON values, in hexadecimal."""
    state = hashlib.sha256(json.dumps(others).encode())
    for item in items:
        state.update(json.dumps([item.key, item.identity, item.place, item.landmarks]).encode())
    return state.hexdigest()


def split_identities(identities, holdout, *, order="hash", seed=0):
    """Chooses identities to hold out of training.

    Args:
      identities: names of the identities.
      holdout: number of identities to hold out.
      order: "hash" takes those with the smallest hash of seed and name, a choice that the alphabet (and with it
        language, sex or the date of the photograph) does not bias; "last" takes the last by name.
      seed: int, another one makes "hash" choose others.

    Returns:
      Set of the names held out.

    Raises:
      ValueError: if fewer than two identities would remain on either side, or `order` is unknown.
    """
    if order not in ("hash", "last"):
        raise ValueError(f"`order` must be 'hash' or 'last', got {order!r}.")
    names = sorted(set(identities))
    if not 2 <= holdout <= len(names) - 2:
        raise ValueError(
            f"cannot hold out {holdout} of {len(names)} identities: training and held-out set need two each, "
            "for without a second person there is nothing to tell apart."
        )
    if order == "hash":
        names.sort(key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest(), reverse=True)
    return set(names[-holdout:])


def plan_shards(source, items, directory, name, num_shards, digest):
    """Cuts the items of a dataset into shards of equal numbers.

    Args:
      source: the `Source`.
      items: the dataset's `Item`s in order, at least one.
      directory: `pathlib.Path` for the files.
      name: name of the dataset.
      num_shards: number of shards, reduced to the number of items; None for about 100 MB each.
      digest: of the `ShardPlan`s.

    Returns:
      List of `ShardPlan`s.
    """
    if num_shards is None:
        # The first are a random choice, and the same one in every run.
        sample = items[:_SAMPLE]
        mean = sum(_num_bytes(source, item) for item in sample) / len(sample)
        num_shards = math.ceil(mean * len(items) / BYTES_PER_SHARD)
    total = max(1, min(num_shards, len(items), MAX_SHARDS))
    bounds = [len(items) * index // total for index in range(total + 1)]
    labels = {identity: label for label, identity in enumerate(sorted({item.identity for item in items}))}
    return [
        ShardPlan(directory / f"{name}-{index:05d}-of-{total:05d}.tfrecord", items[start:stop], labels, digest)
        for index, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False))
    ]


def _fault(item):
    """Returns why an item cannot be in a dataset, or None."""
    if not (item.key and item.key.isprintable() and item.identity and item.identity.isprintable()):
        return "a name that is not printable UTF-8"
    if item.key.startswith("/") or ".." in item.key.split("/"):
        return "a key that leads out of its dataset"
    if item.landmarks is not None and not (len(item.landmarks) == 10 and all(map(math.isfinite, item.landmarks))):
        return f"landmarks that are not ten finite numbers: {item.landmarks}"
    return None


def _num_bytes(source, item):
    try:
        return len(source.read(item))
    except (OSError, ValueError):  # The conversion will say so.
        return 0
