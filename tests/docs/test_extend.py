"""The worked examples of docs/extend: put into a copy of the library as their pages say, and run as users run them."""

import collections
import io
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXTEND = ROOT / "docs" / "extend"
PAGES = sorted(path.stem for path in EXTEND.glob("*.md") if path.stem != "README")
_BLOCK = re.compile(r"^(`{3,})(\w+)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"(?:# |<!-- )([\w/]+\.(?:py|md))(?: -->)?\n")

# What makes a training of a page a matter of seconds.
SMALL = ["--synthetic_identities=8", "--synthetic_heldout=4", "--synthetic_images=4", "--epochs=1", "--batch_size=16"]
SMALL += ["--warmup_epochs=0", "--log_every=1", "--verify_every=2", "--save_every=2", "--embedding_dim=16"]

# Slow imports run once; each command then has its own process.
RUN_ALL = """
import json, os, sys
from tfface.cli import main, program
import tensorflow, tfface
from tfface import jobs
from tfface.jobs import exports, training
for words in json.load(sys.stdin):
    if not os.fork():
        sys.exit(main.main(words))
    if status := os.waitstatus_to_exitcode(os.wait()[1]):
        sys.exit(f"{words}: exit status {status}")
"""


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    text = (EXTEND / f"{page}.md").read_text(encoding="utf-8")
    return [block for _, found, block in _BLOCK.findall(text) if found == language]


def new_files(page):
    """dict from the path of a new file to its content: blocks whose first line is a comment with a path."""
    found = {}
    for block in blocks(page, "python") + blocks(page, "markdown"):
        if match := _FILE.match(block):
            found[match[1]] = block[match.end() :]
    return found


def changes(page):
    """Pairs (path of a changed file, lines of its change), which begin with " ", "+" or "-"."""
    for block in blocks(page, "diff"):
        path, block = re.match(r"@@ (\S+)\n(.*)", block, re.DOTALL).groups()
        for change in block.split("@@\n"):
            yield path, change.splitlines()


def changed(text, lines):
    """Returns a text after a change; the place, its lines that are kept or taken out, must be there once."""
    before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in kinds) for kinds in (" -", " +"))
    assert f"\n{text}".count(f"\n{before}") == 1, before
    return f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]


def apply(page, root):
    """Puts an example into a copy of the repository; returns the paths of its files below the copy."""
    for path, content in new_files(page).items():
        assert not (root / path).exists(), path
        (root / path).write_text(content, encoding="utf-8")
    for path, lines in changes(page):
        (root / path).write_text(changed((root / path).read_text(encoding="utf-8"), lines), encoding="utf-8")
    return {*new_files(page), *(path for path, _ in changes(page))}


def commands(page):
    """The commands of a page, as words after `tfface`."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            assert program == "tfface", line
            yield words


def write_inputs(folder):
    """Writes photos/ and photos.tar, six people with four photographs each, and trial.csv, a list of their pairs.

    The archive also has a damaged image, one outside of it, and what a Mac puts beside pictures.
    """
    names = [f"person_{who}/{shot}.png" for who in range(6) for shot in range(4)]
    with tarfile.open(folder / "photos.tar", "w") as archive:
        for seed, name in enumerate(names):
            buffer = io.BytesIO()
            Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "PNG")
            (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "photos" / name).write_bytes(buffer.getvalue())
            _add(archive, f"./{name}", buffer.getvalue())
            _add(archive, f"./{name.replace('/', '/._')}", b"a Mac's")
        _add(archive, "person_0/damaged.png", b"\x89PNG\r\n\x1a\n")
        _add(archive, "../person_7/outside.png", buffer.getvalue())
    pairs = [(a, b, "yes" if a[:8] == b[:8] else "no") for a, b in itertools.combinations(names, 2)]
    (folder / "trial.csv").write_text("probe,reference,genuine\n" + "".join(f"{','.join(pair)}\n" for pair in pairs))


def _add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


Copy = collections.namedtuple("Copy", "root files work")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with all examples in it: its folder, and the files of each page."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "golden", "results")
    for name in ("tfface", "scripts", "docs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("README.md", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    return Copy(root, {page: apply(page, root) for page in PAGES}, root / "work")


@pytest.fixture(scope="module")
def outputs(copy):
    """The commands of all pages, run in their order: the folder that they ran in, and what they printed."""
    copy.work.mkdir()
    write_inputs(copy.work)
    order = sorted(PAGES, key=["source", "head", "backbone", "export_format", "protocol"].index)
    words = [each for page in order for each in commands(page)]
    # The pages' trainings are one, with the flags of all; the last --run_dir counts.
    trainings = [each for each in words if each[0] == "train"]
    assert len(trainings) == 2
    words[words.index(trainings[-1])] = [*dict.fromkeys(flag for each in trainings for flag in each), *SMALL]
    words.remove(trainings[0])
    done = run(copy, ["-c", RUN_ALL], input=json.dumps(words))
    return copy.work, done.stdout


def run(copy, arguments, **options):
    """Runs Python with the library of the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy.root), "PYTHONDONTWRITEBYTECODE": "1"}
    options = {"cwd": copy.work, "capture_output": True, "text": True, "timeout": 600, **options}
    done = subprocess.run([sys.executable, *arguments], env=environment, **options)
    assert done.returncode == 0, done.stderr + done.stdout[-4000:]
    return done


def test_a_change_must_fit():
    assert changed("a\nb\nc\n", [" a", "-b", "+x", "+y"]) == "a\nx\ny\nc\n"
    for lines in (["-z"], [" a", " c", "+x"], [" ab"]):
        with pytest.raises(AssertionError):
            changed("a\nb\nc\n", lines)


def test_pages_touch_as_many_files_as_they_say(copy):
    table = (EXTEND / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (\d) \| ([^|]+) \| \[\w+\.md\]\((\w+)\.md\) \|$", table, re.MULTILINE)
    counted = {page: (int(count), which) for count, which, page in reversed(rows)}
    assert set(counted) == set(PAGES) == set(copy.files)
    for page, (count, which) in counted.items():
        library = {path for path in copy.files[page] if path.startswith("tfface/")}
        assert len(library) == count and len(which.split(";")) == count, page
        assert set(re.findall(r"`(tfface/[^`]+)`", which)) <= library
        # Beside the library: a head has its page and its line in a test, which no other list repeats.
        beside = {"docs/heads/li_arcface.md", "docs/heads/README.md", "tests/conformance/test_heads.py"}
        beside |= {"tests/conformance/oracles.py"}
        assert copy.files[page] - library == (beside if page == "head" else set())


def test_an_example_is_written_as_the_library_is(copy):
    files = [path for page in PAGES for path in copy.files[page] if path.endswith(".py")]
    ruff = shutil.which("ruff", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *arguments, *files], cwd=copy.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_source_is_converted(outputs):
    folder = outputs[0] / "records" / "photos"
    parts = [json.loads((folder / part / "dataset.json").read_text()) for part in ("train", "heldout")]
    assert [part["identities"] for part in parts] == [4, 2]
    assert sum(part["images"] for part in parts) == 24
    skipped = (folder / "skipped.txt").read_text()
    assert len(skipped.splitlines()) == 2
    assert "person_0/damaged.png" in skipped and "../person_7/outside.png" in skipped


@pytest.mark.slow
def test_a_head_and_a_backbone_are_trained(outputs):
    folder = outputs[0] / "runs" / "vgg"
    flags = (folder / "flags.txt").read_text()
    assert "\n--head=LiArcFace(scale=32, margin=0.3, " in flags and "\n--backbone=VGG11(width=8)\n" in flags
    losses = [float(line.split(",")[1]) for line in (folder / "log.csv").read_text().splitlines()[1:]]
    assert len(losses) == 2 and np.isfinite(losses).all()
    assert (folder / "export" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_arguments_of_a_component_are_listed(outputs):
    assert "  LiArcFace(scale=64.0, margin=0.45, class_weights_initializer=None, chunk_size=None, " in outputs[1]


@pytest.mark.slow
def test_an_export_is_read(outputs):
    work, printed = outputs
    (difference,) = map(float, re.findall(r"Wrote exported/face.pb\n.*differ by up to (\S+) from", printed))
    assert difference < 1e-5
    card = json.loads((work / "exported/face.pb.card.json").read_text())
    assert card["export"] == {"format": ".pb", "quantize": "none"}
    with np.load(work / "heldout.npz") as found:
        vectors = found["vectors"]
    assert vectors.shape == (16, 16)


@pytest.mark.slow
def test_a_protocol_is_evaluated(outputs):
    (result,) = json.loads((outputs[0] / "evaluation" / "results.json").read_text())["results"]
    assert (result["name"], result["genuine_pairs"], result["impostor_pairs"]) == ("Trial", 36, 240)


def test_an_option_that_a_format_lacks_is_refused(copy):
    code = "from tfface import jobs; jobs.export_model('none', 'a.pb', layout='nchw')"
    with pytest.raises(AssertionError, match="layout 'nchw' is for .onnx files, got 'a.pb'"):
        run(copy, ["-c", code], cwd=copy.root)


@pytest.mark.slow
def test_a_head_passes_the_batteries(copy):
    tests = ["tests/conformance/test_heads.py", "tests/conformance/test_parallel.py", "tests/docs/test_docs.py"]
    run(copy, ["-m", "pytest", "-q", *tests, "-k", "li_arcface or LiArcFace or index or in_the_battery"], cwd=copy.root)
