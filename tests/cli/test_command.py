"""The command `tfface`: it finds every program, imports only the one that is named, and lists flags by topic."""

import pathlib
import re
import subprocess
import sys

import pytest

from tfface import __version__
from tfface.cli import main
from tfface.config import train_config

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCHERS = sorted((ROOT / "scripts").glob("*.py")) + sorted((ROOT / "tfrecords_tools").glob("*.py"))


def words(launcher):
    """The words after `tfface` that start the program of a launcher."""
    group = ["records"] if launcher.parent.name == "tfrecords_tools" else []
    return [*group, launcher.stem.replace("_", "-")]


def tfface(*arguments):
    command = [sys.executable, "-m", "tfface", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def flags_of(text):
    return re.findall(r"^  --(?:\[no\])?(\w+)$", text, re.M)


def test_every_launcher_is_a_program_and_every_program_has_a_launcher():
    listed = [[name] for name in main.programs()] + [["records", name] for name in main.programs("records")]
    assert sorted(listed) == sorted(map(words, LAUNCHERS)) and len(listed) > 20


@pytest.mark.parametrize("arguments", [(), ("--help",), ("records",), ("records", "--help")])
def test_programs_are_listed_with_one_line_each(arguments):
    done = tfface(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    group = "records" if "records" in arguments else ""
    for name, text in main.programs(group).items():
        assert re.search(rf"^  {name} +\S", done.stdout, re.M) and text.endswith(".") and text in done.stdout


def test_version():
    assert tfface("--version").stdout == f"tfface {__version__}\n"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("trian", "--epochs=3"), "Error: tfface has no program 'trian': did you mean train?\n"),
        (("from-zip",), "did you mean records from-zip"),
        (("records", "from_zipp"), "Error: tfface records has no program 'from-zipp': did you mean from-zip"),
        (("xyz",), "Error: tfface has no program 'xyz': `tfface --help` lists them.\n"),
        (("main",), "Error: tfface has no program 'main': "),
        (("records", "../train"), "Error: tfface records has no program '../train': "),
    ],
)
def test_an_unknown_program_ends_in_one_sentence(arguments, sentence):
    done = tfface(*arguments)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert sentence in done.stderr


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.stem)
def test_help_of_a_program_names_its_flags_once_and_imports_no_other(launcher):
    code = f"""
import sys
from tfface.cli import main
try:
    main.main({[*words(launcher), "--help"]!r})
finally:
    others = {[words(other)[-1].replace("-", "_") for other in LAUNCHERS]!r}
    print([name for name in sys.modules if name in ("tensorflow", "keras")])
    print([name for name in sys.modules if name.startswith("tfface.cli") and name.rpartition(".")[2] in others])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    *text, heavy, imported = done.stdout.splitlines()
    path = "tfface.cli." + ".".join(words(launcher)).replace("-", "_")
    assert heavy == "[]" and imported == f"[{path!r}]"
    found = flags_of("\n".join(text))
    source = (ROOT / f"{path.replace('.', '/')}.py").read_text()
    defined = re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', source)
    assert set(defined) <= set(found) and len(found) == len(set(found))
    assert found or launcher.stem == "list"
    assert f"usage: tfface {' '.join(words(launcher))} " in done.stdout


def test_settings_of_a_training_are_listed_by_topic():
    text = tfface("train", "--help").stdout
    sections = {part.partition(":\n")[0]: flags_of(part) for part in text.split("\n\n") if flags_of(part)}
    assert {title: sorted(names) for title, names in sections.items()} == {
        title: sorted(names) for title, names in train_config.topics().items()
    }
    assert len(sections) > 5 and "epochs" in sections["optimisation"] and "replicas" in sections["devices and machines"]
    # The choices, the bounds and the default stand behind the help text.
    assert "(one of none, mirrored, multiworker; default none)" in " ".join(text.split())
    assert "(integer >= 2; default 128)" in text and "(required)" not in sections


def test_a_launcher_runs_the_same_program():
    done = subprocess.run(
        [sys.executable, "scripts/compare.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == tfface("compare", "--help").stdout and done.returncode == 0
