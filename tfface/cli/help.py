"""Help text of a program: its docstring, then its flags by topic."""

import sys
import textwrap
from collections.abc import Iterable

from absl import flags

_TOPICS: dict[str, str] = {}  # Of flags that are listed under a heading of their own, by name.
_HIDDEN: set[str] = set()
_WIDTH = 100


def topic(title: str, names: Iterable[str]) -> None:
    """Lists flags under a heading of their own.

    Args:
      title: the heading.
      names: of flags of tfface.
    """
    _TOPICS.update(dict.fromkeys(names, title))


def hide(names: Iterable[str]) -> None:
    """Leaves flags out of the list: those that only say what has taken their place."""
    _HIDDEN.update(names)


def render(docstring: str, command: str) -> str:
    """Returns the help of a program, whose flags are those that modules of tfface and the program itself define.

    Args:
      docstring: of the program.
      command: the words that start it.
    """
    lines = [docstring.strip(), "", f"usage: {command} [--flag=value ...]"]
    for title, found in _by_topic().items():
        lines += ["", f"{title}:"]
        for flag in found:
            lines.append(f"  --{'[no]' if flag.boolean else ''}{flag.name}")
            lines += textwrap.wrap(_text(flag), _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _by_topic():
    """The flags of the program by heading, those without one first, and required ones first below each."""
    defined = flags.FLAGS.flags_by_module_dict()
    found = [
        flag
        for module, of_module in defined.items()
        if module.startswith("tfface.") or module == sys.argv[0]
        for flag in of_module
        if flag.name not in _HIDDEN
    ]
    titles = dict.fromkeys(["flags", *_TOPICS.values()])
    by_title = {title: [flag for flag in found if _TOPICS.get(flag.name, "flags") == title] for title in titles}
    return {title: sorted(group, key=_is_optional) for title, group in by_title.items() if group}


def _text(flag):
    """The help text of a flag, then what it takes and what it is without being given."""
    # absl puts the choices of a flag before its help text, and how often it may be given behind.
    text = flag.help.partition(">: ")[2] if (choices := getattr(flag.parser, "enum_values", None)) else flag.help
    notes = [f"one of {', '.join(choices)}"] if choices else [flag.parser.syntactic_help]
    if flag.default not in (None, []):
        notes.append(f"default {flag.default_as_str.strip(chr(39))}")
    notes = "; ".join(filter(None, [*([] if _is_optional(flag) else ["required"]), *notes]))
    return f"{text.partition(';' + chr(10))[0]}" + (f" ({notes})" if notes else "")


def _is_optional(flag):
    """Whether a program runs without the flag: absl keeps `required=True` as a check of the value."""
    return not any("must have a value other than None" in check.message for check in flag.validators)
