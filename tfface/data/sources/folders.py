"""Folders of face images, `root/identity/.../image.jpg`, as a source."""

import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterator

from tfface import progress
from tfface.data.formats.image_files import EXTENSIONS, is_hidden, is_image_name, read_image_file
from tfface.data.formats.landmarks import LANDMARKS_FILE, read_landmarks
from tfface.data.sources.base import Item, Source, file_state, upright
from tfface.evaluation.metrics.completeness import EXAMPLES, such_as


@dataclasses.dataclass(frozen=True)
class Listing:
    """The result of `find_images`.

    Args:
      keys: sorted paths of the images, relative to the root, with `/`.
      folders: sorted names of the folders directly below the root.
      unreadable: (relative path, reason) of the folders that could not be listed, and of pictures in formats that are
        not read.
      ignored: number of hidden entries, folders that systems make (`__MACOSX`, `@eaDir`), and files without the
        extension of a picture.
      links: number of symbolic links; they are never followed.
    """

    keys: list[str]
    folders: list[str]
    unreadable: list[tuple[str, str]]
    ignored: int
    links: int


def find_images(root: str | os.PathLike) -> Listing:
    """Lists the files with an image extension at any depth below a folder.

    Args:
      root: the folder.

    Returns:
      A `Listing`.

    Raises:
      OSError: if the root itself cannot be listed.
    """
    keys, folders, unreadable, ignored, links = [], [], [], 0, 0
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(os.path.join(root, prefix)) as scan:
                entries = list(scan)
        except OSError as error:
            if not prefix:
                raise
            unreadable.append((prefix, error.strerror or str(error)))
            continue
        for entry in entries:
            if entry.is_symlink():
                links += 1
            elif is_hidden(entry.name):
                ignored += 1
            elif entry.is_dir():
                pending.append(f"{prefix}{entry.name}/")
                if not prefix:
                    folders.append(entry.name)
            elif entry.is_file() and _is_image(prefix + entry.name, unreadable):
                keys.append(prefix + entry.name)
            else:
                ignored += 1
    # Pictures in other formats are listed once, as unreadable.
    ignored -= sum(not path.endswith("/") for path, _ in unreadable)
    return Listing(sorted(keys), sorted(folders), sorted(unreadable), ignored, links)


def _is_image(path, unreadable):
    try:
        return is_image_name(path)
    except ValueError as error:
        unreadable.append((path, str(error)))
        return False


class FolderSource(Source):
    """Images of a folder `root/identity/.../image.jpg`.

    Attributes:
      ignored, links: those of the `Listing`.

    Args:
      root: the folder.
      landmarks: CSV file for `read_landmarks`; default: `landmarks.csv` in the root, if present.
      depth: number of folders below the root that name the identity; 2 for persons in groups, `group/person`.

    Raises:
      ValueError: `depth` is not positive.
    """

    def __init__(self, root: str | os.PathLike, landmarks: str | os.PathLike | None = None, depth: int = 1):
        super().__init__()
        if depth < 1:
            raise ValueError(f"`depth` must be positive, got {depth}.")
        self.location = pathlib.Path(root)
        self.ignored = self.links = 0
        self._landmarks, self._depth = landmarks, depth

    def items(self) -> Iterator[Item]:
        """Lists the images.

        Raises:
          ValueError: if there are no images, or the table of landmarks is malformed or matches none of them.
          OSError: if the root cannot be listed, or the table cannot be read.
        """
        listing = find_images(self.location)
        self.ignored, self.links = listing.ignored, listing.links
        if not listing.keys and not listing.unreadable:
            hint = f"; {listing.links} symbolic links are not followed" if listing.links else ""
            raise ValueError(f"{self.location} holds no images ({', '.join(EXTENSIONS)}{hint}).")
        self._explain(listing)
        occupied = {key.split("/")[0] for key in [*listing.keys, *dict(listing.unreadable)]}
        empty = sorted(set(listing.folders) - occupied)
        self.skipped = listing.unreadable + [(f"{folder}/", "no images of this identity") for folder in empty]
        table = self._table(listing)

        state = hashlib.sha256()
        for key in listing.keys:
            folders = key.split("/")[:-1]
            if len(folders) >= self._depth:
                state.update(self._state(key))
                yield Item(key, sys.intern("/".join(folders[: self._depth])), landmarks=table.get(key))
            else:
                self.skipped.append((key, "not in the folder of an identity"))
        self.fingerprint = state.hexdigest()

    def read(self, item: Item) -> bytes:
        """Returns the bytes of an image file, turned upright."""
        return upright(read_image_file(self.location / item.key))

    def _explain(self, listing):
        """Says so if the folders that count as persons may be something else."""
        deep = min((key.count("/") for key in listing.keys), default=0)
        if deep > self._depth:
            persons = sorted({"/".join(key.split("/")[: self._depth]) for key in listing.keys})
            progress.note(
                f"{self.location}: every image lies {deep} or more folders deep. The {len(persons)} folders "
                f"{such_as(persons[:EXAMPLES])}{', ...' if persons[EXAMPLES:] else ''} are taken for persons. If "
                f"persons are deeper, give --depth={self._depth + 1}; parts of one dataset, such as train and val, are "
                "converted one by one."
            )

    def _table(self, listing):
        path = self.location / LANDMARKS_FILE if self._landmarks is None else self._landmarks
        if self._landmarks is None and not path.exists():
            return {}
        table = read_landmarks(path)
        if table.keys().isdisjoint(listing.keys):
            raise ValueError(
                f"{path} has landmarks of none of the images; its paths must be relative to {self.location}."
            )
        return table

    def _state(self, key):
        try:
            return b"%d %d\n" % file_state(self.location / key)
        except OSError:
            return b"absent\n"
