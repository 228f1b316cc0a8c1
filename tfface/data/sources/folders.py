"""Folders of face images, `root/identity/.../image.jpg`, as a source."""

import dataclasses
import hashlib
import os
import pathlib
import sys
import unicodedata
from collections.abc import Collection, Iterator

from tfface import progress
from tfface.data.formats.image_files import EXTENSIONS, is_hidden, is_image_name, read_image_file
from tfface.data.formats.landmarks import LANDMARKS_FILE, landmarks_of, read_landmarks
from tfface.data.formats.text_lists import BAD_NAME, is_name
from tfface.data.sources.base import Item, Source, file_state, upright
from tfface.evaluation.metrics.completeness import EXAMPLES, such_as

NO_IMAGES = "no images of this identity"
NOT_IN_FOLDER = "not in the folder of an identity"


@dataclasses.dataclass(frozen=True)
class Listing:
    """The result of `find_images`.

    Args:
      keys: sorted paths of the images, relative to the root, with `/`.
      folders: sorted paths of the folders, hidden ones and those of systems left out.
      unreadable: (relative path, reason) of the folders that could not be listed, of pictures in formats that are not
        read, and of images whose names have a control character or are not UTF-8.
      ignored: number of hidden entries, folders that systems make (`__MACOSX`, `@eaDir`), and files without the
        extension of a picture.
      links: number of symbolic links; they are never followed.
    """

    keys: list[str]
    folders: list[str]
    unreadable: list[tuple[str, str]]
    ignored: int
    links: int

    def empty(self, depth: int = 1) -> list[tuple[str, str]]:
        """Returns (relative path, reason) of the folders that should hold pictures of a person and hold none.

        Args:
          depth: number of folders that name an identity.
        """
        pictures = [key.split("/") for key in [*self.keys, *dict(self.unreadable)]]
        known = {"/".join(parts[:length]) for parts in pictures for length in range(1, depth + 1)}
        absent = {folder for folder in self.folders if folder.count("/") < depth} - known
        return [(f"{one}/", NO_IMAGES) for one in sorted(absent) if one.rpartition("/")[0] not in absent]

    @property
    def passed_over(self) -> dict[str, int]:
        """Number of entries that are no images, by kind."""
        return {"hidden or other files": self.ignored, "symbolic links": self.links}


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
                folders.append(prefix + entry.name)
            else:
                try:
                    if entry.is_file() and _is_image(prefix + entry.name):
                        keys.append(prefix + entry.name)
                    else:
                        ignored += 1
                except ValueError as error:
                    unreadable.append((prefix + entry.name, str(error)))
    return Listing(sorted(keys), sorted(folders), sorted(unreadable), ignored, links)


def _is_image(path):
    if is_image_name(path) and not is_name(path):
        raise ValueError(BAD_NAME)
    return is_image_name(path)


def identity_of(key: str, depth: int = 1) -> str:
    """Returns the name of the identity of an image, the folders at the start of its path.

    An image that does not lie as deep is an identity of its own.

    Args:
      key: path of the image below the root, with `/`.
      depth: number of folders that name an identity.
    """
    return sys.intern("/".join(key.split("/")[:depth]))


def explain_depth(location: str | os.PathLike, keys: Collection[str], depth: int) -> None:
    """Tells the user if the folders that count as persons may be something else.

    Args:
      location: of the images, for the message.
      keys: paths of the images below it, with `/`.
      depth: number of folders that name an identity.
    """
    deep = min((key.count("/") for key in keys), default=0)
    if deep > depth:
        persons = sorted({identity_of(key, depth) for key in keys})
        names = such_as(persons[:EXAMPLES]) + (", ..." if persons[EXAMPLES:] else "")
        taken = f"The {len(persons)} folders {names} are taken for persons" if persons[1:] else f"All are of {names}"
        progress.note(
            f"{location}: every image lies {deep} or more folders deep. {taken}. If persons are deeper, give "
            f"--depth={depth + 1}; parts of one dataset, such as train and val, are given one by one."
        )


class FolderSource(Source):
    """Images of a folder `root/identity/.../image.jpg`.

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
        self._landmarks, self._depth = landmarks, depth

    def items(self) -> Iterator[Item]:
        """Lists the images.

        Raises:
          ValueError: if there are no images, or the table of landmarks is malformed or matches none of them.
          OSError: if the root cannot be listed, or the table cannot be read.
        """
        listing = find_images(self.location)
        self.passed_over = listing.passed_over
        if not listing.keys and not listing.unreadable:
            hint = f"; {listing.links} symbolic links are not followed" if listing.links else ""
            raise ValueError(f"{self.location} holds no images ({', '.join(EXTENSIONS)}{hint}).")
        explain_depth(self.location, listing.keys, self._depth)
        self.skipped = listing.unreadable + listing.empty(self._depth)
        table = self._table(listing)

        state = hashlib.sha256()
        for key in listing.keys:
            if key.count("/") >= self._depth:
                state.update(self._state(key))
                yield Item(key, identity_of(key, self._depth), landmarks=landmarks_of(key, table))
            else:
                self.skipped.append((key, NOT_IN_FOLDER))
        self.fingerprint = state.hexdigest()

    def read(self, item: Item) -> bytes:
        """Returns the bytes of an image file, turned upright."""
        return upright(read_image_file(self.location / item.key))

    def _table(self, listing):
        path = self.location / LANDMARKS_FILE if self._landmarks is None else self._landmarks
        if self._landmarks is None and not path.exists():
            return {}
        table = read_landmarks(path)
        absent = sorted(table.keys() - {unicodedata.normalize("NFC", key) for key in listing.keys})
        if len(absent) == len(table):
            raise ValueError(
                f"{path} has landmarks of none of the images; its paths must be relative to {self.location}."
            )
        if absent:
            progress.note(
                f"{path}: {len(absent)} of {len(table)} rows are of no image, such as {such_as(absent[:EXAMPLES])}."
            )
        return table

    def _state(self, key):
        try:
            return b"%d %d\n" % file_state(self.location / key)
        except OSError:
            return b"absent\n"
