"""Programs that end early end in one sentence: signals, a full disk, a lack of memory, damaged weights."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import programs
import pytest

from tfface.data.synthetic import rendering

_RENDER = """
import sys
from tfface.cli import program as cli
def main():
    from tfface.data.synthetic import rendering as synthetic
    synthetic.write_folder(folder, 3000, 10, workers=2)
if __name__ == "__main__":
    folder = sys.argv.pop()
    cli.run(main)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Folder of a network, the same with damaged weights, and 600 images of 60 people."""
    folder = tmp_path_factory.mktemp("inputs")
    keras.utils.set_random_seed(1)
    layers = [keras.Input((56, 56, 3)), keras.layers.Conv2D(64, 5), keras.layers.Conv2D(8, 5, strides=8)]
    network = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(8)])
    network.save(folder / "network.keras")
    network.layers[-1].bias.assign([np.nan] * 8)
    network.save(folder / "damaged.keras")
    rendering.write_folder(folder / "photos", 60, 10, size=56)
    (folder / "render.py").write_text(_RENDER)
    return folder


def command(program, inputs, output, network="network"):
    """Returns (the command, a pattern of what is in the folder `output` while the program is at its work)."""
    model, photos = f"--model={inputs / network}.keras", inputs / "photos"
    name, *arguments, pattern = {
        "embed": ("scripts/embed.py", model, f"--data={photos}", f"--output={output}/a.npz", "a.npz.partial/job.json"),
        "records": ("scripts/embed.py", model, f"--data={photos}", f"--output={output}/a.tfrecord", "*"),
        "export": ("scripts/export.py", model, f"--output={output}/1", ".1.*"),
        "convert": (
            "tfrecords_tools/from_folder.py",
            f"--input={photos}",
            f"--output={output}/toy",
            "toy/.toy.partial/growing.json",
        ),
        "evaluate": ("scripts/evaluate.py", model, f"--data={photos}", f"--output={output}", "*"),
        "render": (inputs / "render.py", f"{output}/faces", ".faces.*"),
    }[program]
    return [sys.executable, str(programs.ROOT / name), *arguments], pattern


def run(arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=200, cwd=programs.ROOT, **options)


def interrupt(arguments, signum, group, wait, temporary):
    """Starts a program, sends it a signal when `wait(process)` returns, and checks its end; returns its last words."""
    temporary.mkdir()
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=programs.ROOT,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    wait(process)
    (os.killpg if group else os.kill)(process.pid, signum)
    _, errors = process.communicate(timeout=30)
    if process.returncode == 0:  # It was done just then.
        return None
    assert process.returncode == 128 + signum, errors
    assert "Traceback" not in errors and "Exception ignored" not in errors
    assert list(temporary.iterdir()) == []
    programs.wait_until(lambda: not alive(process.pid), seconds=10)
    return errors.splitlines()[-1]


def alive(session):
    """Whether processes of a session live; dead ones may wait for their parent."""
    listed = subprocess.run(["ps", "-e", "-o", "sess=,stat="], capture_output=True, text=True, check=True).stdout
    return any(int(line.split()[0]) == session and "Z" not in line.split()[1] for line in listed.splitlines())


def check_rest(program, output, last):
    """The same command continues from what an interruption leaves, and the sentence says so."""
    partial = {"embed": "a.npz.partial", "convert": "toy/.toy.partial"}.get(program)
    if partial and (output / partial).exists():
        if "continues" in last:
            assert last.endswith(f"; the same command continues from {output / partial}.")
        assert not list(output.glob(f"{partial}/.*"))  # Nor half of a piece.
    else:
        left = [path for path in output.rglob("*") if path.name not in ("toy",)]
        assert left == []
        assert last.startswith("Error: interrupted by SIG")


@pytest.mark.parametrize(
    "program, signum, group",
    [
        ("embed", signal.SIGINT, True),
        ("convert", signal.SIGTERM, False),
        ("render", signal.SIGINT, True),
        # Slow, because once in a while others have a word too: TensorFlow prints an exception that passes through its
        # C++, and Python's resource tracker counts what workers left that the signal reached first.
        pytest.param("export", signal.SIGINT, True, marks=pytest.mark.slow),
        pytest.param("export", signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param("render", signal.SIGTERM, True, marks=pytest.mark.slow),
    ],
)
def test_an_interruption_at_work_ends_in_one_sentence(inputs, tmp_path, program, signum, group):
    for attempt in range(5):
        output = tmp_path / f"output-{attempt}"
        output.mkdir()
        arguments, pattern = command(program, inputs, output)
        last = interrupt(
            arguments,
            signum,
            group,
            lambda process, output=output, pattern=pattern: programs.wait_until(
                lambda: list(output.glob(pattern)), process
            ),
            tmp_path / f"tmp-{attempt}",
        )
        if last is not None:  # It was not done just then.
            break
    assert last.startswith(f"Error: interrupted by {signum.name}")
    assert ("; the same command continues from " in last) == (program in ("embed", "convert"))
    check_rest(program, output, last)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("program, seconds", [("embed", 9), ("export", 12), ("convert", 5), ("render", 4)])
def test_an_interruption_at_any_moment_ends_in_one_sentence(inputs, tmp_path, program, seconds, seed):
    rng = random.Random(f"{program} {seed}")
    output = tmp_path / "output"
    output.mkdir()

    def wait(process):
        # Before, a program has not begun, and ends by the signal itself.
        time.sleep(rng.uniform(0.5, seconds))

    arguments, _ = command(program, inputs, output)
    last = interrupt(arguments, rng.choice([signal.SIGINT, signal.SIGTERM]), rng.random() < 0.5, wait, tmp_path / "tmp")
    if last is not None:
        check_rest(program, output, last)


@pytest.fixture
def disk(tmp_path):
    """Function from a size in KB to an empty file system of it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()

    def mount(kilobytes):
        options = f"size={kilobytes}k"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode:
            pytest.skip("this root cannot mount a file system")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    "program, kilobytes",
    [("embed", 12), ("export", 300), ("convert", 100)]
    + [pytest.param(*case, marks=pytest.mark.slow) for case in (("records", 48), ("export", 16), ("evaluate", 60))],
)
def test_a_full_disk_ends_in_one_sentence_with_the_path(inputs, disk, program, kilobytes):
    output = disk(kilobytes)
    (_, *arguments), _ = command(program, inputs, output)
    result = programs.run(*arguments)
    assert result.returncode == 1, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {output}/") and last.endswith(": no space left on the disk.")
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr
    for complete in ("a.npz", "a.tfrecord", "1", "toy/dataset.json", "report.html"):
        assert not (output / complete).exists()
    assert not list(output.glob(".*"))


@pytest.mark.parametrize("program", ["embed", "evaluate", "export"])
def test_damaged_weights_end_in_one_sentence(inputs, tmp_path, program):
    (_, *arguments), _ = command(program, inputs, tmp_path, "damaged")
    result = programs.run(*arguments)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    count, first = (8, "face 0") if program == "export" else (64, "id_00000/000.png")
    assert f"embeddings of {count} of {count} images are not finite, the first of ['{first}'" in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "job.json"]


def test_lacks_are_sentences():
    cases = [
        ("MemoryError()", "not enough memory."),
        ("np.zeros(1 << 47)", "not enough memory (Unable to allocate"),
        ('RuntimeError("can\'t start new thread")', "not enough memory (can't start new thread)."),
        ("tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor')", "not enough memory (OOM when"),
        (
            "tf.errors.ResourceExhaustedError(None, None, '{{node a}} /a/b.tfrecord; No space left on device [Op:S]')",
            "/a/b.tfrecord: no space left on the disk.",
        ),
        ("OSError(28, 'No space left on device', '/a/b')", "/a/b: no space left on the disk."),
    ]
    program = f"""
import numpy as np
import tensorflow as tf
from tfface.cli import program as cli

for error in {[error for error, _ in cases]!r}:
    def main():
        raise eval(error)
    try:
        cli.run(main)
    except SystemExit as end:
        print(end.code)
"""
    result = run([sys.executable, "-c", program])
    assert result.returncode == 0 and "Traceback" not in result.stderr
    for line, (_, sentence) in zip(result.stdout.splitlines(), cases, strict=True):
        assert line.startswith(f"Error: {sentence}")


@pytest.mark.parametrize("remedy, end", [("", "."), ("the same command continues.", "; the same command continues.")])
def test_an_interruption_of_which_c_code_makes_another_error_stays_one(remedy, end):
    program = f"""
import contextlib, signal
from tfface.cli import program as cli
from tfface import interrupts
def main():
    with interrupts.remedy({remedy!r}) if {remedy!r} else contextlib.nullcontext():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise TypeError from None
cli.run(main)
"""
    result = run([sys.executable, "-c", program])
    assert (result.returncode, result.stderr) == (143, f"\nError: interrupted by SIGTERM{end}\n")


@pytest.mark.parametrize(
    "place",
    [
        # Python prints what a finalizer raises, and goes on.
        """
    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)
    Finalized()
""",
        # C code of the import system breaks off with an error of its own.
        """
    source = "import signal\\ntry: signal.raise_signal(signal.SIGTERM)\\nexcept BaseException: print('broken')"
    exec(compile(source, "<frozen importlib._bootstrap>", "exec"))
""",
    ],
)
def test_a_signal_where_an_exception_would_be_lost_is_not(place):
    program = f"""
import signal, time
from tfface.cli import program as cli
def main():{place}
    time.sleep(20)
    print("not interrupted")
cli.run(main)
"""
    result = run([sys.executable, "-c", program])
    assert (result.returncode, result.stdout, result.stderr) == (143, "", "\nError: interrupted by SIGTERM.\n")


def test_other_errors_keep_their_traceback():
    result = run([sys.executable, "-c", "from tfface.cli import program\nprogram.run(lambda: 1 / 0)"])
    assert result.returncode == 1 and "ZeroDivisionError" in result.stderr and "Traceback" in result.stderr


def test_an_error_of_a_write_names_the_file_and_not_its_temporary_one(tmp_path):
    from tfface import files

    for name in (None, "temporary", "/another/file"):
        with pytest.raises(OSError) as caught, files.replacing(tmp_path / "a") as temporary:
            raise OSError(28, "full", str(temporary) if name == "temporary" else name)
        assert caught.value.filename == ("/another/file" if name == "/another/file" else str(tmp_path / "a"))
    assert list(pathlib.Path(tmp_path).iterdir()) == []
