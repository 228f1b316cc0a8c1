"""The built wheel alone: its command trains from a packaged flagfile, in a folder that holds nothing."""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes

import pytest

from tfface import __version__
from tfface.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Few people, small images and a narrow network: seconds instead of minutes.
FEW = ("--synthetic_identities=10", "--synthetic_heldout=6", "--synthetic_images=4", "--epochs=2", "--batch_size=8")
PROGRAMS = [(name,) for name in main.programs()] + [("records", name) for name in main.programs("records")]

pytestmark = pytest.mark.slow


def pip(*arguments):
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, because a build leaves files beside setup.py."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    for part in ("tfface", "scripts"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, copy)
    # Without setuptools in this environment pip fetches it for the build.
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("setuptools") else []
    pip("wheel", "--no-deps", *isolation, "--wheel-dir", folder, copy)
    shutil.rmtree(copy)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel):
    """Folder of the installed wheel."""
    folder = wheel.parent / "installed"
    pip("install", "--no-deps", "--target", folder, wheel)
    return folder


def test_the_wheel_holds_the_library_and_its_flagfiles_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (described,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(described))
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tfface").rglob("*.py")}
    experiments = ROOT / "scripts" / "flagfiles"
    flagfiles = {
        f"tfface/experiments/{path.relative_to(experiments).as_posix()}" for path in experiments.rglob("*.flags")
    }
    assert flagfiles and "tfface/experiments/quickstart.flags" in flagfiles
    information = {name for name in names if name.startswith(f"tfface-{__version__}.dist-info/")}
    # No tests, benchmarks, examples or documentation.
    assert names - information == library | flagfiles | {"tfface/py.typed", "tfface/cli/paper_results.csv"}
    assert any(name.endswith("LICENSE") for name in information)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Keywords"] and "Typing :: Typed" in metadata.get_all("Classifier")
    lowest, highest = metadata["Requires-Python"].removeprefix(">="), "3.13"
    stated = [one.rpartition(" ")[2] for one in metadata.get_all("Classifier") if re.search(r":: 3\.\d+$", one)]
    assert (stated[0], stated[-1]) == (lowest, highest)


def tfface(installed, folder, *arguments):
    """Runs the command of the wheel in a folder; the dependencies are those of this environment."""
    # Without the level of TensorFlow's log that tests set.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["PYTHONPATH"] = str(installed)
    command = [sys.executable, str(installed / "bin" / "tfface"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done


def test_the_command_of_the_wheel_trains_and_exports_in_an_empty_folder(installed, tmp_path):
    where = subprocess.run(
        [sys.executable, "-c", "import tfface; print(tfface.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(installed))  # And not the checkout.
    assert tfface(installed, tmp_path, "--version").stdout == f"tfface {__version__}\n"
    small = ("--save_every=10", "--verify_every=10", "--warmup_epochs=0")
    done = tfface(installed, tmp_path, "train", "--flagfile=quickstart.flags", *FEW, *small)
    # Every line of stderr is one of the plan or a progress bar.
    lines = re.split(r"[\r\n]+", done.stderr)
    known = "(render|convert synthetic|train|Plan|Memory per replica|Per step|Peak memory): "
    assert [line for line in lines if line.strip() and not re.match(known, line)] == []
    assert (tmp_path / "runs/quickstart/export/1/saved_model.pb").is_file()
    # The line that it ends with runs as it is.
    *_, last = done.stdout.splitlines()
    program, *arguments = last.split()
    assert program == "tfface" and arguments[0] == "evaluate"
    evaluated = tfface(installed, tmp_path, *arguments)
    assert "accuracy" in evaluated.stdout and (tmp_path / "evaluation/report.html").is_file()
    assert "InitializeLog" not in evaluated.stderr


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_help_of_a_program_of_the_wheel_names_its_flags(installed, tmp_path, program):
    done = tfface(installed, tmp_path, *program, "--help")
    assert re.findall(r"^  --", done.stdout, re.M) and done.stderr == ""
