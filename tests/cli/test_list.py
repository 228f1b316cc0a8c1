"""tfface list names every component with its arguments."""

import subprocess
import sys

import pytest

from tfface.config import components


def listed(*words):
    done = subprocess.run([sys.executable, "-m", "tfface", "list", *words], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_all_components_are_listed_with_arguments_and_a_line():
    code, printed, errors = listed()
    assert (code, errors) == (0, "")
    sections = {part.splitlines()[0].rstrip("s:"): part.splitlines() for part in printed.split("\n\n")}
    for kind in components.KINDS.keys() - {"initializer"}:
        lines = sections[{"loss": "losse", "batches": "batche"}.get(kind, kind)]
        for name in components.names(kind):
            (place,) = (number for number, line in enumerate(lines) if line.startswith(f"  {name}("))
            assert all(argument in lines[place] for argument in components.arguments(kind, name))
            assert lines[place + 1].strip().endswith((".", ":"))


@pytest.mark.parametrize(
    "words, expected", [(("samplers",), "Uniform(rate, "), (("batches",), "PK(identities=32, images=4)")]
)
def test_one_kind(words, expected):
    code, printed, _ = listed(*words)
    assert code == 0 and expected in printed and "ArcFace" not in printed


def test_an_unknown_kind_is_answered_with_the_known_ones():
    code, _, errors = listed("networks")
    assert code == 1
    assert errors.startswith("Error: there are no networks; there are backbones, heads, losses, samplers")
