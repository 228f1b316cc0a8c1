"""Folders of face images, `root/identity/.../image.jpg`: finding and checking what they hold."""

import concurrent.futures
import dataclasses
import functools
import os

from tfface.data.images import check_image
from tfface.data.writer import SourceImage
from tfface.progress import bar as progress_bar

EXTENSIONS = (".jpg", ".jpeg", ".png")

_CHUNK = 256
_MAX_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True)
class Listing:
    """What `find_images` found below a root.

    Args:
      keys: sorted paths of the images, relative to the root, with `/`.
      folders: sorted names of the folders directly below the root.
      unreadable: (relative path, reason) of the folders that could not be listed.
      ignored: number of hidden entries and of files with another extension.
      links: number of symbolic links; they are never followed.
    """

    keys: list
    folders: list
    unreadable: list
    ignored: int
    links: int


def find_images(root):
    """Lists the files with an image's extension at any depth below a folder.

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
            unreadable.append((prefix, error.strerror))
            continue
        for entry in entries:
            if entry.is_symlink():
                links += 1
            elif entry.name.startswith("."):
                ignored += 1
            elif entry.is_dir():
                pending.append(f"{prefix}{entry.name}/")
                if not prefix:
                    folders.append(entry.name)
            elif entry.is_file() and entry.name.lower().endswith(EXTENSIONS):
                keys.append(prefix + entry.name)
            else:
                ignored += 1
    return Listing(sorted(keys), sorted(folders), sorted(unreadable), ignored, links)


def check_images(root, listing, *, skip_bad=False, workers=None, progress=False):
    """Reads and decodes every image of a folder; the first part of its path is the identity.

    Args:
      root: the folder.
      listing: its `Listing`.
      skip_bad: whether what is bad is returned instead of raising.
      workers: number of threads; default: the number of processors.
      progress: whether a progress bar is shown on stderr.

    Returns:
      List of `SourceImage`s, and list of (printable relative path, reason) of bad images and of folders without images.

    Raises:
      ValueError: for the first bad image or folder, unless `skip_bad`.
    """
    images, skipped = [], []

    def reject(key, reason):
        key = key if key.isprintable() else ascii(key)
        if not skip_bad:
            raise ValueError(f"{os.path.join(root, key)}: {reason} (skip_bad would leave it out).")
        skipped.append((key, reason))

    for key, reason in listing.unreadable:
        reject(key, reason)
    occupied = {key.split("/")[0] for key in [*listing.keys, *dict(listing.unreadable)]}
    for folder in sorted(set(listing.folders) - occupied):
        reject(f"{folder}/", "no images of this identity")

    check = functools.partial(_check_files, root)
    chunks = [listing.keys[start : start + _CHUNK] for start in range(0, len(listing.keys), _CHUNK)]
    bar = progress_bar(total=len(listing.keys), desc="check", unit=" images", disable=not progress)
    with bar, concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for chunk, results in zip(chunks, pool.map(check, chunks), strict=True):
                for key, result in zip(chunk, results, strict=True):
                    if isinstance(result, SourceImage):
                        images.append(result)
                    else:
                        reject(key, result)
                bar.update(len(chunk))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return images, skipped


def _check_files(root, keys):
    """Returns for every key a `SourceImage`, or the reason why it is none."""
    return [_check_file(root, key) for key in keys]


def _check_file(root, key):
    identity, slash, _ = key.partition("/")
    if not slash:
        return "not in the folder of an identity"
    if not key.isprintable():
        return "a name that is not printable UTF-8"
    try:
        with open(os.path.join(root, key), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            return f"larger than {_MAX_BYTES >> 20} MB"
        return SourceImage(key, identity, check_image(data), len(data))
    except OSError as error:
        return error.strerror
    except ValueError as error:
        return str(error)
