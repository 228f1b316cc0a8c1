"""Commands in README.md, docs/, docstrings and flagfiles name programs and flags that exist."""

import functools
import pathlib
import re
import subprocess
import sys

import pytest

from tfface import flagfiles
from tfface.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        # Those of docs/extend run in a library that has its examples (test_extend.py).
        *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "extend"),
        *(ROOT / "scripts" / "flagfiles").rglob("*.flags"),
        *(ROOT / "tfface" / "cli").rglob("*.py"),
    )
)
# To the end of the code or of the shell's command.
_COMMAND = re.compile(
    r"(?<![\w./-])(?:\.venv/bin/)?"
    r"(?:tfface (?!import )((?:records )?[a-z][a-z-]+)|python (scripts|tfrecords_tools)/(\w+)\.py)"
    r"((?: +[^`|&;\"\n]*)?)(?=[`|&;\"\n'])"
)
_ABSL = {"help", "helpfull", "flagfile"}


def commands(text, markdown):
    """Triples (program, flags, text) of the commands of a text; prose, which also speaks of tfface, holds none."""
    text = re.sub(r"\\\n[ #]*", " ", text)  # A command may continue on the next line.
    code = r"```.*?```|`[^`\n]+`" if markdown else r"`[^`\n]+`|^[ #]*(?:tfface|python) .*?$|\"(?:next: )?tfface .*?\""
    text = "\n".join(re.findall(code, text, re.DOTALL | re.MULTILINE))
    for match in _COMMAND.finditer(text + "\n"):
        program, folder, name, rest = match.groups()
        if folder:
            program = f"{'records ' if folder == 'tfrecords_tools' else ''}{name.replace('_', '-')}"
        yield program, re.findall(r"(?<![\w=-])--(\w+)", rest), match[0]


@functools.cache
def known_flags(program):
    """The flags of a program, or None if there is no such program."""
    done = subprocess.run(
        [sys.executable, "-m", "tfface", *program.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        return None
    found = re.findall(r"^  --(\[no\])?(\w+)$", done.stdout, re.M)
    return {name for _, name in found} | {f"no{name}" for negated, name in found if negated} | _ABSL


def wrong(text, markdown):
    """The commands of a text whose program or flags do not exist."""
    found = []
    for program, flags, command in commands(text, markdown):
        known = known_flags(program)
        if known is None:
            found.append(f"{command}: no such program")
        else:
            found += [f"{command}: no flag --{flag}" for flag in flags if flag not in known]
        found += [
            f"{command}: no packaged flagfile {name}"
            for name in re.findall(r"--flagfile=(?!scripts/)([\w/-]+\.flags)", command)
            if name not in flagfiles.packaged() and name != "my.flags"
        ]
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_of_a_page_exist(page):
    assert wrong((ROOT / page).read_text(encoding="utf-8"), page.suffix == ".md") == []


def test_commands_are_found():
    found = [
        program
        for page in PAGES
        for program, _, _ in commands((ROOT / page).read_text(encoding="utf-8"), page.suffix == ".md")
    ]
    every = {*main.programs(), *(f"records {name}" for name in main.programs("records"))}
    assert set(found) >= every and len(found) > 80


@pytest.mark.parametrize(
    "text, message",
    [
        ("`tfface trian --epochs=3`", "tfface trian --epochs=3: no such program"),
        ("`tfface train --epoch=3`", "tfface train --epoch=3: no flag --epoch"),
        ("```bash\ntfface train --seed=1 \\\n    --epoch=3\n```", "tfface train --seed=1  --epoch=3: no flag --epoch"),
        ("`python scripts/train.py --noseed`", "python scripts/train.py --noseed: no flag --noseed"),
        (
            "`tfface train --flagfile=gone.flags`",
            "tfface train --flagfile=gone.flags: no packaged flagfile gone.flags",
        ),
        ("`tfface records from-zip --input=a --depht=1`", "--depht=1: no flag --depht"),
    ],
)
def test_a_wrong_command_is_found(text, message):
    (found,) = wrong(text, markdown=True)
    assert found.endswith(message)
