"""Lists heads, backbones, losses and other components with their arguments, defaults and one line each.

tfface list
tfface list heads
tfface list backbones losses
"""

import inspect

from tfface.cli import program


def main(*words: str) -> None:
    from tfface.config import components

    kinds = {_plural(kind): kind for kind in components.KINDS if kind != "initializer"}
    for word in words:
        if word not in kinds:
            raise ValueError(f"there are no {word}; there are {', '.join(kinds)}.")
    for number, word in enumerate(words or kinds):
        if number:
            print()
        print(f"{word}:")
        for name in components.names(kinds[word]):
            print(f"  {_call(kinds[word], name)}")
            print(f"      {_first_line(components.find(kinds[word], name))}")


def _plural(kind):
    return {"loss": "losses", "batches": "batches"}.get(kind, f"{kind}s")


def _call(kind, name):
    from tfface.config import components

    found = components.arguments(kind, name)
    written = [key if default is inspect.Parameter.empty else f"{key}={default!r}" for key, default in found.items()]
    return f"{name}({', '.join(written)})"


def _first_line(component):
    return (inspect.getdoc(component) or "").partition("\n")[0]


if __name__ == "__main__":
    program.run(main)
