"""File names of a dataset's shards: `NAME-00000-of-000NN.tfrecord`."""

import pathlib
import re
import typing

_DIGITS = 5
MAX_SHARDS = 10**_DIGITS - 1

_NAME = re.compile(r"\w[\w.-]*")
_SHARD = re.compile(rf"(?P<name>.+)-\d{{{_DIGITS}}}-of-(?P<total>\d{{{_DIGITS}}})\.tfrecord")


class ShardSet(typing.NamedTuple):
    """The shards to which one shard belongs.

    Args:
      name: name of the dataset, with the directory if the shard's path had one.
      total: number of shards.
    """

    name: str
    total: int


def check_name(name: str, what: str) -> str:
    """Checks that a name can start the name of a file.

    Args:
      name: name of a dataset, or a prefix of its files.
      what: the noun for the message.

    Returns:
      The name as given.

    Raises:
      ValueError: if it has other characters than letters, digits, `_`, `-` and `.`, or starts with one of the last two.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} must consist of letters, digits, '_', '-' and '.', got {name!r}.")
    return name


def folder_name(folder: pathlib.Path) -> str:
    """Returns the name of a dataset in a folder: that of the folder, with `_` for what `check_name` refuses."""
    return re.sub(r"[^\w.-]+", "_", folder.resolve().name).lstrip(".-") or "dataset"


def shard_name(name: str, index: int, total: int) -> str:
    """Returns the file name of shard `index` of `total`."""
    return f"{name}-{index:0{_DIGITS}d}-of-{total:0{_DIGITS}d}.tfrecord"


def parse_shard_name(path: str) -> ShardSet | None:
    """Returns the `ShardSet` that a path or file name states, or None if it is not a shard's."""
    match = _SHARD.fullmatch(path)
    return match and ShardSet(match["name"], int(match["total"]))


def find_shards(directory: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Returns the sorted paths of all files in a directory that are called like shards of a dataset."""
    digits = "[0-9]" * _DIGITS
    return sorted(directory.glob(f"{name}-{digits}-of-{digits}.tfrecord"))
