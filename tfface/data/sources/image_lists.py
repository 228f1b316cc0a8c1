"""Lists of images with labels, in CSV or in MXNet's `.lst` format, as a source."""

import hashlib
import os
import pathlib
from collections.abc import Iterator

from tfface.data.formats.image_files import read_image_file
from tfface.data.formats.landmarks import LANDMARK_COLUMNS, parse_landmarks
from tfface.data.formats.recordio import identity_of_label
from tfface.data.formats.text_lists import check_path, is_name, read_csv
from tfface.data.sources.base import Item, file_state, upright
from tfface.data.sources.file_source import FileSource
from tfface.files import open_regular, short_reason

_MAX_LINE = 1 << 16


class ListSource(FileSource):
    """Images of a list.

    A `.lst` file has lines `index <tab> label <tab> ... <tab> path`, as written by MXNet's `im2rec`, or InsightFace's
    `flag <tab> path <tab> label`. The first label is used; it is a whole number, and the identity's name is this number
    with eight digits. Any other file is a table with the columns path, label and, optionally, x1, y1, ..., x5, y5 in
    pixels, all empty if unknown; commas or tabs separate them, and quotes may enclose them. Blank lines do not count.
    Paths may begin with `./`, have backslashes, or be absolute if they lead below the root. The place of an item is the
    number of its line.

    Args:
      path: the list.
      root: folder to which its paths are relative; default: that of the list.

    Raises:
      ValueError: by `items`, if the whole list does not have its format; single malformed lines go to `skipped`.
      OSError: if it cannot be read.
    """

    def __init__(self, path: str | os.PathLike, root: str | os.PathLike | None = None):
        super().__init__(path)
        self._root = self.location.parent if root is None else pathlib.Path(root)

    def items(self) -> Iterator[Item]:
        """Yields the images in the order of the list."""
        self.begin()
        states, found, absent = hashlib.sha256(), 0, []
        rows, parse = (_lst_rows, _parse_lst) if self.location.suffix.lower() == ".lst" else (_csv_rows, _parse_csv)
        for number, row in rows(self.location):
            try:
                item = parse(row, self._key, number)
                state = file_state(self._root / item.key)
            except ValueError as error:
                self.reject(f"line {number}", short_reason(error))
            except OSError as error:
                absent.append(item.key)
                self.reject(self.where(item), error.strerror or str(error))
            else:
                found += 1
                states.update(b"%d %d;" % state)
                yield item
        if absent and not found:
            raise ValueError(
                f"{self.location}: none of its {len(absent)} images is in {self._root}, such as {absent[0]!r}; "
                "--root names the folder that its paths are relative to."
            )
        self.fingerprint = states.hexdigest()

    def read(self, item: Item) -> bytes:
        """Returns the bytes of the image file, turned upright; it must be below the root even after resolving links."""
        root = os.path.realpath(self._root)
        path = os.path.realpath(os.path.join(root, item.key))
        if not pathlib.Path(path).is_relative_to(root):
            raise ValueError("a link that leads out of the root")
        return upright(read_image_file(path))

    def where(self, item: Item) -> str:
        """Names the image by its line."""
        return f"{item.key} (line {item.place})"

    def _key(self, path):
        """Returns the path of an image relative to the root, as `check_path` accepts it."""
        # Lists made on Windows have backslashes; a name with one on Linux cannot be told from that.
        path = path.strip().replace("\\", "/")
        for root in (os.path.abspath(self._root), os.path.realpath(self._root)):
            path = path.removeprefix(root.replace("\\", "/").rstrip("/") + "/")
        if path.startswith("/") or path[1:3] == ":/":
            raise ValueError(f"expected a path below {str(self._root)[:100]}, got {path[:200]!r}")
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        return check_path(path)


def _csv_rows(path):
    """Yields (number of the line, (path, label, coordinates...)) for each row of a table, as strings."""
    rows = read_csv(path, tabs=True)
    header = tuple(name.strip() for name in next(rows, ()))
    if not {"path", "label"} <= set(header):
        raise ValueError(f"{path}: expected the columns path and label, got {str(header)[:200]}.")
    landmarks = LANDMARK_COLUMNS if set(LANDMARK_COLUMNS) <= set(header) else []
    columns = [header.index(name) for name in ("path", "label", *landmarks)]
    number = 2
    for row in rows:
        if any(field.strip() for field in row):
            yield number, [row[column] for column in columns]
        number += 1 + sum(field.count("\n") for field in row)


def _parse_csv(row, key, number):
    path, label, *landmarks = row
    if not is_name(label):
        raise ValueError(f"expected a label without control characters, got {label[:200]!r}")
    return Item(key(path), label, number, parse_landmarks(landmarks) if any(landmarks) else None)


def _lst_rows(path):
    """Yields (number of the line, its bytes) for the lines of a `.lst` file that are not blank."""
    number = 0
    with open_regular(path) as file:
        while line := file.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise ValueError(f"{path}: not a list of images, a line has more than {_MAX_LINE} bytes.")
            number += 1
            if line.strip():
                yield number, line


def _parse_lst(line, key, number):
    try:
        columns = line.decode("utf-8-sig").rstrip("\r\n").split("\t")
        if len(columns) < 3:
            raise ValueError
        # The path is last in MXNet's lists, and before the label in InsightFace's.
        last = len(columns) == 3 and not _is_number(columns[1]) and _is_number(columns[2])
        path, label = (columns[1], columns[2]) if last else (columns[-1], columns[1])
        label = float(label)
    except UnicodeDecodeError:
        raise ValueError(f"expected UTF-8, got {line[:200]!r}; save the list as UTF-8") from None
    except ValueError:
        raise ValueError(
            "expected 'index, label, path' or 'flag, path, label', separated by tabs, the label a whole number, got "
            f"{line[:200]!r}"
        ) from None
    return Item(key(path), identity_of_label(label), number)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
