"""Cleaning the index of a dataset: dropping small identities and listed images, and renaming identities."""

import collections
import dataclasses
import os
from collections.abc import Iterable

from tfface.data.formats.text_lists import read_csv
from tfface.data.sources.base import Item


def drop_low_shot(items: Iterable[Item], min_images: int) -> list[Item]:
    """Drops the identities that have fewer than `min_images` images.

    Args:
      items: iterable of `tfface.data.sources.Item`s.
      min_images: int >= 1.

    Returns:
      List of `Item`s in the same order.

    Raises:
      ValueError: if no identity has that many images.
    """
    items = list(items)
    counts = collections.Counter(item.identity for item in items)
    kept = [item for item in items if counts[item.identity] >= min_images]
    if not kept:
        raise ValueError(f"no identity has {min_images} images; the largest has {max(counts.values(), default=0)}.")
    return kept


def exclude(items: Iterable[Item], path: str | os.PathLike) -> list[Item]:
    """Drops the identities and images on an exclusion list, such as that of `tfface.data.curation.overlap`.

    Args:
      items: iterable of `Item`s.
      path: CSV file with the columns identity and key; a row with an empty key excludes all images of the identity.

    Returns:
      List of `Item`s in the same order.

    Raises:
      ValueError: if the file is not such a table, or matches none of the items.
      OSError: if it cannot be read.
    """
    items, table = list(items), _read_table(path, ["identity", "key"])
    rows = list(zip(table["identity"], table["key"], strict=True))
    keys = {key for _, key in rows if key}
    identities = {identity for identity, key in rows if not key}
    kept = [item for item in items if item.key not in keys and item.identity not in identities]
    if len(kept) == len(items):
        raise ValueError(f"{path} names no key and no identity of this dataset.")
    return kept


def relabel(items: Iterable[Item], path: str | os.PathLike) -> list[Item]:
    """Assigns new identities to images; several identities may become one.

    Args:
      items: iterable of `Item`s.
      path: CSV file with the columns identity and new_identity, or key and new_identity. Images with an empty new
        identity are dropped; images that are not listed keep their identity.

    Returns:
      List of `Item`s in the same order.

    Raises:
      ValueError: if the file is not such a table, lists something twice, or matches none of the items.
      OSError: if it cannot be read.
    """
    table = _read_table(path, ["new_identity"])
    columns = [name for name in ("identity", "key") if name in table]
    if len(columns) != 1:
        raise ValueError(f"{path}: expected one of the columns identity and key, got {', '.join(table)[:200]}.")
    (column,) = columns
    new = {}
    for name, identity in zip(table[column], table["new_identity"], strict=True):
        if name in new:
            raise ValueError(f"{path}: {name[:200]!r} occurs twice.")
        new[name] = identity
    items = list(items)
    if not any(getattr(item, column) in new for item in items):
        raise ValueError(f"{path} names no {column} of this dataset.")
    changed = [dataclasses.replace(item, identity=new.get(getattr(item, column), item.identity)) for item in items]
    return [item for item in changed if item.identity]


def _read_table(path, columns):
    """Returns a dict from column to the list of its strings."""
    rows = read_csv(path)
    header = next(rows, ())
    if missing := [name for name in columns if name not in header]:
        raise ValueError(f"{path}: column {missing[0]!r} is missing; it has {', '.join(header)[:200]}.")
    rows = list(rows)
    return {name: [row[position] for row in rows] for position, name in enumerate(header)}
