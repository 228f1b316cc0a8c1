"""Folders of face images inside a zip archive, as a source; nothing is unpacked to the disk."""

import os
import zipfile
from collections.abc import Iterator

from tfface.data.formats.image_files import MAX_IMAGE_BYTES, check_image_bytes, is_hidden, is_image_name
from tfface.data.formats.text_lists import check_path
from tfface.data.sources.base import Item, upright
from tfface.data.sources.file_source import FileSource
from tfface.data.sources.folders import NO_IMAGES, NOT_IN_FOLDER, explain_depth, identity_of
from tfface.files import Unreadable, open_regular, short_reason
from tfface.zip_files import DAMAGED, MAX_RATIO

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_SMALL = 1 << 20


class ZipSource(FileSource):
    """Images of a zip archive with paths `root/identity/.../image.jpg`.

    Args:
      path: the archive.
      root: folder inside the archive; keys are paths relative to it.
      depth: number of folders below the root that name the identity; 2 for persons in groups, `group/person`.

    Raises:
      ValueError: if the file is not a zip archive, or `depth` is not positive.
      OSError: if it cannot be read.
    """

    def __init__(self, path: str | os.PathLike, root: str = "", depth: int = 1):
        super().__init__(path)
        if depth < 1:
            raise ValueError(f"`depth` must be positive, got {depth}.")
        root = root.strip("/")
        self._prefix, self._depth = f"{root}/" if root else "", depth
        try:
            # Several threads may read from an open archive; its list of members is read once, here.
            self._archive = zipfile.ZipFile(open_regular(path))
        except Unreadable:
            raise
        except (*DAMAGED, ValueError) as error:
            raise ValueError(f"{path}: not a zip archive ({short_reason(error)}).") from error

    def __reduce__(self):
        return type(self), (self.location, self._prefix, self._depth)

    def items(self) -> Iterator[Item]:
        """Yields the images by name; hidden files and those of other kinds are counted in `passed_over`."""
        self.begin()
        ignored, keys = 0, []
        persons, occupied = set(), set()
        for info in sorted(self._archive.infolist(), key=lambda info: info.filename):
            # Some programs for Windows write backslashes, against the standard.
            name = info.filename.replace("\\", "/")
            key = name.removeprefix(self._prefix)
            if not name.startswith(self._prefix):
                continue
            if any(is_hidden(part) for part in name.split("/") if part.strip(".")):
                ignored += not info.is_dir()
                continue
            person = tuple(key.split("/")[:-1][: self._depth])
            if len(person) == self._depth:
                persons.add(person)
            try:
                if not name.endswith("/") and is_image_name(name):
                    occupied.add(person)
                    yield self._item(info, key)
                    keys.append(key)
                else:
                    ignored += not name.endswith("/")
            except ValueError as error:
                occupied.add(person)
                self.reject(ascii(name), str(error))
        for person in sorted(persons - occupied):
            self.reject(ascii("/".join(person) + "/"), NO_IMAGES)
        self.passed_over = {"hidden or other files": ignored}
        explain_depth(self.location, keys, self._depth)

    def read(self, item: Item) -> bytes:
        """Returns the bytes of a member, turned upright; no more are read than an image may have."""
        try:
            info = self._archive.getinfo(item.place or self._prefix + item.key)
            with self._archive.open(info) as file:
                # Memory is reserved for all bytes asked for, so ask for no more than the member claims.
                data = file.read(min(info.file_size, MAX_IMAGE_BYTES) + 1)
        except (*DAMAGED, KeyError) as error:
            raise ValueError(f"a damaged member of the archive ({short_reason(error)})") from error
        check_image_bytes(len(data))
        return upright(data)

    def _item(self, info, key):
        if check_path(key).count("/") < self._depth:
            raise ValueError(NOT_IN_FOLDER)
        if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
            raise ValueError("encrypted, or compressed with a method other than deflate")
        check_image_bytes(info.file_size)
        # JPEG and PNG are compressed already. A member that shrinks this much is neither, and could fill the memory.
        if info.file_size > _SMALL + MAX_RATIO * min(info.compress_size, self.location.stat().st_size):
            raise ValueError(f"{info.file_size} bytes compressed to {info.compress_size}, not an image")
        place = None if info.filename == self._prefix + key else info.filename
        return Item(key, identity_of(key, self._depth), place)
