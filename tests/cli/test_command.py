"""The command `tfface`: it finds every program, imports only the one that is named, and lists flags by topic."""

import pathlib
import re
import subprocess
import sys

import pytest

from tfface import __version__
from tfface.cli import main
from tfface.config import train_flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The words after `tfface` that start each program, and those that the launchers give.
PROGRAMS = [(name,) for name in main.programs()] + [("records", name) for name in main.programs("records")]
LAUNCHERS = {(path.stem.replace("_", "-"),): path for path in (ROOT / "scripts").glob("*.py")} | {
    ("records", path.stem.replace("_", "-")): path for path in (ROOT / "tfrecords_tools").glob("*.py")
}


def tfface(*arguments):
    command = [sys.executable, "-m", "tfface", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def flags_of(text):
    return re.findall(r"^  --(?:\[no\])?(\w+)$", text, re.M)


def test_every_launcher_starts_the_program_of_its_name():
    assert set(LAUNCHERS) <= set(PROGRAMS) and len(LAUNCHERS) > 20
    for words, path in LAUNCHERS.items():
        group = '"records", ' if len(words) == 2 else ""
        assert f'main([{group}"{words[-1]}", *sys.argv[1:]])' in path.read_text()


def test_programs_of_the_folders_are_found():
    files = {path.stem.replace("_", "-") for path in (ROOT / "tfface" / "cli" / "records").rglob("*.py")}
    assert files - {"--init--"} == set(main.programs("records"))


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


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_help_of_a_program_names_its_flags_once_and_imports_no_other(words):
    code = f"""
import sys
from tfface.cli import main
try:
    main.main({[*words, "--help"]!r})
finally:
    others = {[other[-1].replace("-", "_") for other in PROGRAMS]!r}
    print([name for name in sys.modules if name in ("tensorflow", "keras")])
    print([name for name in sys.modules if name.startswith("tfface.cli") and name.rpartition(".")[2] in others])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    *text, heavy, imported = done.stdout.splitlines()
    (path,) = (ROOT / "tfface" / "cli").rglob(f"{words[-1].replace('-', '_')}.py")
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    assert heavy == "[]" and imported == f"[{module!r}]"
    found = flags_of("\n".join(text))
    defined = re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', path.read_text())
    assert set(defined) <= set(found) and len(found) == len(set(found))
    assert found or words == ("list",)
    assert f"usage: tfface {' '.join(words)} " in done.stdout


def test_settings_of_a_training_are_listed_by_topic():
    text = tfface("train", "--help").stdout
    sections = {part.partition(":\n")[0]: flags_of(part) for part in text.split("\n\n") if flags_of(part)}
    # Every program has --quiet; it is not a setting.
    assert {title: sorted(names) for title, names in sections.items()} == {
        **{title: sorted(names) for title, names in train_flags.topics().items()},
        "flags": ["quiet"],
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
