"""Files of flags, one per line. On a command line they may include others; the flags of a run may not."""

import os
import pathlib

from tfface.files import read_regular

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 16
_MAX_FLAGS = 100_000
_NAME = "flagfile"
# setup.py puts the flagfiles of the repository into the package.
_PLACES = (pathlib.Path(__file__).parent / "experiments", pathlib.Path(__file__).parents[1] / "scripts" / "flagfiles")


def read_lines(path: str | os.PathLike) -> list[str]:
    """Reads the lines of a flagfile, comments included.

    Args:
      path: of a regular file of at most 1 MB.

    Returns:
      list of str.

    Raises:
      ValueError: the file is not regular, too large or no text.
      OSError: it cannot be read.
    """
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error.reason} at byte {error.start}).") from None
    if "\0" in text:
        raise ValueError(f"{path}: not a text file (it has a zero character).")
    return text.split("\n")


def packaged() -> dict[str, pathlib.Path]:
    """Returns the paths of the flagfiles that come with tfface, by name: "cfp.flags", "arcface/table2.flags"."""
    folder = next(filter(pathlib.Path.is_dir, _PLACES), _PLACES[0])
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.flags"))}


def flags_of(lines, path=None):
    """Returns the flags among lines, such as "--epochs=3", without empty lines and comments (after `#` or `//`)."""
    lines = (line.strip() for line in lines)
    return [line for line in lines if line and not line.startswith(("#", "//"))]


def expand(arguments, upgrade=flags_of):
    """Puts the flags of the files that `--flagfile` names in the place of it, so that nothing else reads them.

    A name that is not a file of the working directory may be that of a packaged flagfile, such as arcface/table2.flags.

    Args:
      arguments: list of str, a command line: the program and its arguments.
      upgrade: function (lines, path) -> flags, which may bring those of earlier releases forward.

    Returns:
      list of str without `--flagfile`.

    Raises:
      ValueError: a file does not exist or is not a flagfile, includes itself, or they include each other too deeply.
      OSError: a file cannot be read.
    """
    return [*arguments[:1], *_expand(list(arguments[1:]), upgrade, ())]


def flag_name(argument: str) -> str | None:
    """Returns "name" of "--name", "-name" and "--name=value"; None of what is not a flag."""
    if not argument.startswith("-") or argument in ("-", "--"):
        return None
    return argument.removeprefix("-").removeprefix("-").partition("=")[0]


def _expand(arguments, upgrade, within):
    found = []
    while arguments:
        argument = arguments.pop(0)
        if argument == "--":  # No flags follow.
            return [*found, argument, *arguments]
        if flag_name(argument) != _NAME:
            found.append(argument)
            continue
        if "=" in argument:
            path = argument.partition("=")[2].strip()
        elif arguments:
            path = arguments.pop(0)
        else:
            where = f"{within[-1]}: " if within else ""
            raise ValueError(f"{where}--{_NAME} needs the name of a file.")
        found += _included(os.path.expanduser(path), upgrade, within) if path else []
        if len(found) > _MAX_FLAGS:
            raise ValueError(f"{path}: flagfiles have at most {_MAX_FLAGS} flags together.")
    return found


def _read(path):
    try:
        return read_lines(path)
    except FileNotFoundError:
        folder = os.path.dirname(path)
        # Those of its folder, or what there is at the top.
        known = [name for name in packaged() if folder and os.path.dirname(name) == folder]
        known = known or list(dict.fromkeys(name.partition("/")[0] + "/" * ("/" in name) for name in packaged()))
        raise ValueError(f"{path}: no such flagfile; tfface comes with {', '.join(known)}.") from None


def _included(path, upgrade, within):
    if not os.path.lexists(path):
        path = str(packaged().get(path, path))
    real = os.path.realpath(path)
    if real in within:
        raise ValueError(f"{path}: a flagfile that includes itself: {' -> '.join([*within, real])}.")
    if len(within) == _MAX_DEPTH:
        raise ValueError(f"{path}: flagfiles include each other more than {_MAX_DEPTH} deep.")
    try:
        flags = upgrade(_read(path), path)
    except (OSError, ValueError) as error:
        if not within:
            raise
        # The reader of the message has to know where the name comes from.
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{within[-1]}: --{_NAME}={path[:200]}: {str(reason).rstrip('.')}.") from None
    return _expand(flags, upgrade, (*within, real))
