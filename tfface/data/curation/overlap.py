"""What a training set shares with a test set: persons by their names, pictures by their hashes."""

import dataclasses
import unicodedata

import numpy as np

from tfface import csv_files
from tfface.data.curation.duplicates import duplicate_groups
from tfface.data.curation.image_hashes import ImageHashes, hash_images


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """A person or picture of the training set that the test set has too.

    Args:
      identity: in the training set.
      key: of the image in the training set, "" for the whole identity.
      reason: what it shares with which person or image of the test set.
    """

    identity: str
    key: str
    reason: str


def find_overlap(train, tests=(), names=(), *, by_name=True, by_image=True, workers=None, progress=False):
    """Finds what a training set shares with test sets; bad images are left out, as conversion leaves them out.

    Args:
      train: `tfface.data.sources.Source`.
      tests: `Source`s.
      names: more names of persons to look for.
      by_name: whether the identities of the test sets are compared by name, too.
      by_image: whether pictures are compared.
      workers: number of threads; default: the number of processors.
      progress: whether progress bars are shown on stderr.

    Returns:
      List of `Shared`: first whole identities, by name, then images.
    """
    names = list(names)
    for test in tests if by_name else []:
        names += {item.identity for item in test.items()}
    shared = shared_identities({item.identity for item in train.items()}, names) if names else []
    if by_image and tests:
        of_train, *of_tests = (hash_images(one, workers=workers, progress=progress) for one in (train, *tests))
        shared += shared_images(of_train, of_tests)
    return shared


def fold_name(name):
    """Returns a name as it is compared: `José_Aznar`, `jose aznar` and `JOSE-AZNAR` are all `jose aznar`."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(one if one.isalnum() else " " for one in plain if not unicodedata.combining(one))
    return " ".join(letters.split())


def shared_identities(train, test):
    """Finds identities of the training set whose name, folded by `fold_name`, is also in the test set.

    Args:
      train, test: iterables of names.

    Returns:
      List of `Shared`, by name.
    """
    known = {folded: name for name in sorted(set(test), reverse=True) if (folded := fold_name(name))}
    folded = {name: fold_name(name) for name in sorted(set(train))}
    return [Shared(name, "", f"same name as {known[one]}") for name, one in folded.items() if one in known]


def shared_images(train, tests):
    """Finds pictures of the training set that are also in a test set.

    Args:
      train: `ImageHashes`.
      tests: list of `ImageHashes`.

    Returns:
      List of `Shared`, by their position in `train`.
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


def write_exclusions(path, shared):
    """Writes an exclusion list for `tfface.data.curation.cleaning.exclude`: a CSV file of identity, key and reason."""
    csv_files.write_table(path, ["identity", "key", "reason"], map(dataclasses.astuple, shared))
