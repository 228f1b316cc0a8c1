"""The notebooks of examples/notebooks: each runs in a kernel of its own, quietly, and its links lead somewhere."""

import json
import os
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
MOST_OUTPUT = 300_000  # Bytes; pictures are most of it.


def cells(path, kind):
    """The sources of the cells of one kind."""
    book = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_a_clean_kernel_without_a_warning(path, tmp_path):
    pytest.importorskip("ipykernel")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    if "safetensors" in path.read_text(encoding="utf-8"):
        pytest.importorskip("safetensors")
    # What a user sees: tests/conftest.py turns the log of TensorFlow off, and a user has settings of IPython.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["IPYTHONDIR"] = str(tmp_path)
    client = nbclient.NotebookClient(
        nbformat.read(path, as_version=4), timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    book = client.execute(env=environment)
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    lines = {name: [] for name in ("stdout", "stderr")}
    for output in outputs:
        lines.get(output.get("name"), []).extend(output.get("text", "").splitlines())
    # TensorFlow Lite says so much from C++, and TensorFlow warns of retracing on stdout.
    assert [line for line in lines["stderr"] if not line.startswith("INFO: Created TensorFlow Lite")] == []
    assert [line for line in lines["stdout"] if "warning" in line.lower()] == []
    assert 0 < len(json.dumps(outputs)) < MOST_OUTPUT
    assert [output for output in outputs if "/tmp/" in output.get("text", "")] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_without_outputs_and_its_links_lead_somewhere(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    # Outputs would differ with every version and machine; the test above makes them.
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book["cells"])
    assert book["cells"][0]["cell_type"] == "markdown"
    for target in re.findall(r"\]\(([^)]+)\)", "\n".join(cells(path, "markdown"))):
        file, _, anchor = target.partition("#")
        text = (path.parent / file).read_text(encoding="utf-8")
        titles = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", text, re.MULTILINE)}
        assert not anchor or anchor in titles, target


def test_the_guide_names_every_notebook():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(\.\./examples/notebooks/([\w.]+)\)", guide))
    assert linked == {path.name for path in NOTEBOOKS} and len(linked) >= 7
