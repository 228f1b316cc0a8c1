"""Opening folders of images, as `checked_records` opens records: bad files are named, or left out on request."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from tfface import progress
from tfface.data.formats.image_files import read_image_file
from tfface.data.formats.left_out import in_all, printable, summary
from tfface.data.images.decoding import check_image
from tfface.data.parallel import map_in_threads
from tfface.data.sources.folders import explain_depth, find_images


@dataclasses.dataclass(frozen=True, repr=False)
class ImageFolder:
    """The images of a folder, ready to be read; `open_folder` makes it.

    Args:
      root: the folder.
      keys: paths of the images, relative to the root, with `/`.
      bad: (relative path, reason) of what is left out.
      depth: number of folders that name the identity of an image.
    """

    root: pathlib.Path
    keys: tuple[str, ...]
    bad: tuple[tuple[str, str], ...] = ()
    depth: int = 1

    def __repr__(self) -> str:
        """Returns one line without the names of the images."""
        return f"ImageFolder({str(self.root)!r}: {len(self.keys)} images, {len(self.bad)} left out)"

    def left_out(self) -> dict:
        """Returns what reports say of the images that are left out: JSON values, nothing where there are none."""
        if not self.bad:
            return {}
        images = [f"{printable(place)}: {reason}" for place, reason in self.bad]
        return {"left out": {"count": len(images), "summary": summary(len(self.keys), self.bad), "images": images}}


def open_folder(root: str | os.PathLike, *, skip_bad: bool = False, depth: int = 1) -> ImageFolder:
    """Lists the images of a folder, at any depth.

    Pictures of formats that are not read, names that no dataset may hold and folders that cannot be listed are errors.
    With `skip_bad` every image is decoded too; what is bad is left out. A summary on stderr says what was not read,
    persons without images too.

    Args:
      root: the folder.
      skip_bad: whether to leave out what cannot be read.
      depth: number of folders that name the identity of an image.

    Returns:
      The `ImageFolder`.

    Raises:
      ValueError: there are no images, or without `skip_bad` something cannot be read; the message names it.
      OSError: the folder cannot be listed.
    """
    root = pathlib.Path(root)
    listing = find_images(root)
    bad = list(listing.unreadable)
    if bad and not skip_bad:
        raise ValueError(f"{root}: what cannot be read, in all {in_all(bad)} (skip_bad leaves it out).")
    keys = listing.keys
    if skip_bad:
        with progress.bar(total=len(keys), desc="check images", unit=" images") as bar:
            for key, reason in _check(root, keys):
                bar.update()
                if reason is not None:
                    bad.append((key, reason))
    bad += listing.empty(depth)
    left_out = dict(bad)
    keys = [key for key in keys if key not in left_out]
    if not keys:
        raise ValueError(f"{root} holds no images.")
    if bad or any(listing.passed_over.values()):
        progress.note(f"{root}: {summary(len(keys), bad, listing.passed_over)}.")
    explain_depth(root, keys, depth)
    return ImageFolder(root, tuple(keys), tuple(bad), depth)


@contextlib.contextmanager
def naming_bad_files(folder: ImageFolder | None) -> Iterator[None]:
    """Context manager that names the bad file if iteration over `folder_dataset` fails inside its block.

    Args:
      folder: the `ImageFolder`; None changes nothing.

    Raises:
      ValueError: a file cannot be read or decoded; the message names it and the reason.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if folder is None:
            raise
        for key, reason in _check(folder.root, folder.keys):
            if reason is not None:
                raise ValueError(f"{folder.root / key}: {reason} (skip_bad leaves such files out).") from error
        raise


def _check(root, keys):
    """Yields (key, None) for every good image, and (key, reason) for the others, in order."""

    def check(key):
        try:
            check_image(read_image_file(root / key))
        except OSError as error:
            return key, error.strerror or str(error)
        except ValueError as error:
            return key, str(error)
        return key, None

    return map_in_threads(check, keys)
