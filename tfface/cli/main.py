"""The command `tfface`: its first words name a program, a module of this folder or below its folder `records`.

tfface train --flagfile=quickstart.flags
tfface records from-folder --input=photos --output=records/photos
"""

import ast
import difflib
import importlib
import pathlib
import sys
from collections.abc import Sequence

from tfface import __version__

_FOLDER = pathlib.Path(__file__).parent
_GROUPS = ("records",)  # The folders below it.


def programs(group: str = "") -> dict[str, str]:
    """Lists the programs of a folder without importing them, because each defines its flags when it is imported.

    Args:
      group: "" or the name of a folder below this one; its programs may stand in folders of their own.

    Returns:
      dict from the name of a program, such as "import-weights", to the first line of its docstring.
    """
    found = {}
    for name, path in _files(group).items():
        module = ast.parse(path.read_text(encoding="utf-8"))
        if _is_program(module):
            found[name] = (ast.get_docstring(module) or "").partition("\n")[0]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the program that the first words name; an unknown one ends in one sentence and exit status 1.

    Args:
      arguments: the words after `tfface`; default: those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        print(f"tfface {__version__}")
        return
    group = words.pop(0) if words and words[0] in _GROUPS else ""
    name = _spelled(words.pop(0)) if words else "--help"
    if name in ("--help", "-h", "-help", "help"):
        print(_overview(group))
        return
    if name not in (known := programs(group)):
        sys.exit(f"Error: {_unknown(group, name, known)}")
    sys.argv = [" ".join(filter(None, ("tfface", group, name))), *words]
    path = _files(group)[name].relative_to(_FOLDER).with_suffix("")
    module = importlib.import_module(".".join(("tfface.cli", *path.parts)))
    # Loaded here, because it decides how signals end the process that imports it.
    from tfface.cli import program

    program.run(module.main)


def _files(group):
    """The files that may hold the programs of a folder, by the names of these."""
    folder = _FOLDER / group
    return {_spelled(path.stem): path for path in sorted(folder.rglob("*.py") if group else folder.glob("*.py"))}


def _is_program(module):
    """Whether a module runs its `main` as a program."""
    last = module.body[-1] if module.body else None
    return isinstance(last, ast.If) and ast.unparse(last).endswith("program.run(main)")


def _spelled(word):
    return word.replace("_", "-")


def _overview(group):
    entries = programs(group)
    if not group:
        entries |= {f"{folder} ...": "Makes, checks and rewrites datasets of TFRecords." for folder in _GROUPS}
    width = max(map(len, entries))
    lines = [f"  {name:{width}}  {text}" for name, text in entries.items()]
    command = f"tfface {group}".strip()
    return "\n".join([f"usage: {command} PROGRAM [--flag=value ...]", "", *lines, "", _HINT.format(command)])


_HINT = "{} PROGRAM --help lists the flags of a program."


def _unknown(group, name, known):
    others = [*known, *(() if group else (f"{folder} {one}" for folder in _GROUPS for one in programs(folder)))]
    # Of a program in a folder, its last word alone may be what was typed.
    spellings = {one: max(_likeness(name, one), _likeness(name, one.split()[-1])) for one in others}
    near = [one for one in sorted(others, key=spellings.get, reverse=True) if spellings[one] > 0.6][:3]
    command = f"tfface {group}".strip()
    advice = f"did you mean {' or '.join(near)}?" if near else f"`{command} --help` lists them."
    return f"{command} has no program {name!r}: {advice}"


def _likeness(one, other):
    return difflib.SequenceMatcher(None, one, other).ratio()


if __name__ == "__main__":
    main()
