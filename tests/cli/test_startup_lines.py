"""Programs and notebooks print nothing of TensorFlow's start, and lose none of its errors."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KNOWN = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795760513.861457 20608 port.cc:153] oneDNN custom operations are on. You may see ...\n"
)
PROGRAM = """
from tfface.cli import program
def main():
    {find}
    import tensorflow
    import os
    os.write(2, {known!r}.encode())
    print(tensorflow.name)
program.run(main)
"""
NOTEBOOK = """
import tfface
{find}
import tensorflow
print(tensorflow.name)
"""


def run(tmp_path, tensorflow, level=None, find="pass", known="", program=PROGRAM):
    """Runs a program beside a stand-in for TensorFlow, the given text."""
    (tmp_path / "tensorflow.py").write_text(f"import os, signal, sys\nKNOWN = {KNOWN!r}\n{tensorflow}\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    if level:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    command = [sys.executable, "-c", program.format(known=known, find=find)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("program", [PROGRAM, NOTEBOOK])
@pytest.mark.parametrize("find", ["pass", "import importlib.util; importlib.util.find_spec('tensorflow')"])
def test_known_lines_are_dropped_and_others_are_not(tmp_path, find, program):
    text = "os.write(2, ('before\\n' + KNOWN + 'after\\nno end').encode()); name = __spec__.name"
    done = run(tmp_path, text, find=find, program=program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "tensorflow\n", "before\nafter\nno end")


def test_after_the_import_nothing_is_dropped(tmp_path):
    assert run(tmp_path, "name = ''", known=KNOWN).stderr == KNOWN


@pytest.mark.parametrize("program", [PROGRAM, NOTEBOOK])
def test_level_0_brings_the_lines_back(tmp_path, program):
    assert run(tmp_path, "os.write(2, KNOWN.encode()); name = ''", level="0", program=program).stderr == KNOWN


@pytest.mark.parametrize("program", [PROGRAM, NOTEBOOK])
def test_the_log_is_off_unless_its_level_is_given(tmp_path, program):
    text = "name = os.environ['TF_CPP_MIN_LOG_LEVEL']"
    assert run(tmp_path, text, program=program).stdout == "3\n"
    assert run(tmp_path, text, level="2", program=program).stdout == "2\n"


@pytest.mark.parametrize(
    "end, status", [("os.abort()", -6), ("os.kill(os.getpid(), signal.SIGKILL)", -9), ("os._exit(3)", 3)]
)
def test_the_last_words_of_an_import_that_ends_the_process_are_seen(tmp_path, end, status):
    done = run(tmp_path, f"os.write(2, (KNOWN + 'F0000 no AVX here\\n').encode()); {end}")
    # Python adds a traceback of an abort.
    assert done.returncode == status and done.stderr.startswith("F0000 no AVX here\n")


def test_an_exception_of_the_import_keeps_its_traceback(tmp_path):
    done = run(tmp_path, "os.write(2, KNOWN.encode()); import nowhere_to_be_found")
    assert done.returncode == 1 and "InitializeLog" not in done.stderr
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'nowhere_to_be_found'\n")


def test_a_program_that_uses_tensorflow_writes_nothing_to_stderr(tmp_path):
    code = "def main():\n    import keras\n    keras.ops.ones(3).numpy()\n"
    code = f"from tfface.cli import program\n{code}program.run(main)"
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
