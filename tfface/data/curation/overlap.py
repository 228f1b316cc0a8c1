"""Overlap of training and test sets: identities by their names, images by their hashes."""

import dataclasses
import os
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from tfface import csv_files
from tfface.data.curation.duplicates import duplicate_groups
from tfface.data.curation.image_hashes import ImageHashes, hash_images
from tfface.data.parallel import Run
from tfface.data.sources.base import Source


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """An identity or image of the training set that is also in a test set.

    Args:
      identity: its name in the training set.
      key: key of the image in the training set; "" for the whole identity.
      reason: the relation to an identity or image of the test set.
    """

    identity: str
    key: str
    reason: str


def find_overlap(
    train: Source,
    tests: Sequence[Source] = (),
    names: Iterable[str] = (),
    *,
    by_name: bool = True,
    by_image: bool = True,
    workers: int | None = None,
    progress: bool = False,
    run: Run | None = None,
) -> list[Shared]:
    """Finds identities and images that a training set shares with test sets; bad images are ignored.

    Args:
      train: `tfface.data.sources.Source`.
      tests: `Source`s.
      names: further names to look for.
      by_name: whether to compare the names of the test sets' identities.
      by_image: whether to compare images.
      workers: number of threads; default: the number of processors.
      progress: whether to show progress bars on stderr.
      run: what reads the images, as for `hash_images`.

    Returns:
      List of `Shared`: first whole identities, by name, then images.
    """
    names = list(names)
    for test in tests if by_name else []:
        names += {item.identity for item in test.items()}
    shared = shared_identities({item.identity for item in train.items()}, names) if names else []
    if by_image and tests:
        of_train, *of_tests = (hash_images(one, workers=workers, progress=progress, run=run) for one in (train, *tests))
        shared += shared_images(of_train, of_tests)
    return shared


def fold_name(name: str) -> str:
    """Normalises a name for comparison: `José_Aznar`, `jose aznar` and `JOSE-AZNAR` all become `jose aznar`."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(one if one.isalnum() else " " for one in plain if not unicodedata.combining(one))
    return " ".join(letters.split())


def shared_identities(train: Iterable[str], test: Iterable[str]) -> list[Shared]:
    """Finds identities of the training set with a name that, up to `fold_name`, is also in the test set.

    Args:
      train, test: iterables of names.

    Returns:
      List of `Shared`, by name.
    """
    known = {folded: name for name in sorted(set(test), reverse=True) if (folded := fold_name(name))}
    names = {name: fold_name(name) for name in sorted(set(train))}
    return [Shared(name, "", f"same name as {known[one]}") for name, one in names.items() if one in known]


def shared_images(train: ImageHashes, tests: Sequence[ImageHashes]) -> list[Shared]:
    """Finds images of the training set that are also in a test set.

    Args:
      train: `ImageHashes`.
      tests: list of `ImageHashes`.

    Returns:
      List of `Shared`, by their index in `train`.
    """
    every = [train, *tests]
    both = ImageHashes(
        keys=[key for one in every for key in one.keys],
        identities=[identity for one in every for identity in one.identities],
        digests=np.concatenate([one.digests for one in every]),
        perceptual=np.concatenate([one.perceptual for one in every]),
        bad=[],
    )
    found = {}
    for group in duplicate_groups(both):
        others = [one for one in group if one >= len(train.keys)]
        copies = {both.digests[other].tobytes(): other for other in reversed(others)}
        for one in group[: len(group) - len(others)] if others else []:
            copy = copies.get(both.digests[one].tobytes())
            relation, other = ("same picture as", others[0]) if copy is None else ("same file as", copy)
            found[one] = f"{relation} {both.keys[other]}"
    return [Shared(train.identities[one], train.keys[one], reason) for one, reason in sorted(found.items())]


def write_exclusions(path: str | os.PathLike, shared: Iterable[Shared]) -> None:
    """Writes an exclusion list for `tfface.data.curation.cleaning.exclude`: a CSV file of identity, key and reason."""
    csv_files.write_table(path, ["identity", "key", "reason"], map(dataclasses.astuple, shared))
