"""The programs that align, inspect, verify and rewrite datasets, as a user runs them."""

import pathlib
import re
import subprocess
import sys

import pandas as pd
import programs
import pytest

from tfface.data.conversion.convert import convert
from tfface.data.records import DatasetInfo
from tfface.data.sources.folders import FolderSource
from tfface.data.synthetic.rendering import write_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONVERTERS = tuple(sorted(path.stem for path in (ROOT / "tfface" / "cli" / "records" / "sources").glob("from_*.py")))
WRITERS = (*CONVERTERS, "align", "drop_low_shot", "merge", "relabel", "reshard")
PROGRAMS = (*WRITERS, "detect", "index", "inspect_records", "overlap", "refine", "verify")


def run(jobs):
    """Runs programs one after the other; returns the exit status, output and errors of each."""
    done = [programs.run(f"tfrecords_tools/{program}.py", *arguments) for program, *arguments in jobs]
    return [(each.returncode, each.stdout, each.stderr) for each in done]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_all_flags_without_tensorflow(program):
    path = str(ROOT / "tfrecords_tools" / f"{program}.py")
    code = f"""
import runpy, sys
sys.argv = [{path!r}, "--help"]
try:
    runpy.run_path({path!r}, run_name="__main__")
finally:
    print("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    shared = ["output", "name", "shards", "overwrite", "workers", "skip_bad", "beam"]
    shared += ["holdout_identities", "holdout_from", "holdout_seed"]
    wanted = shared if program in WRITERS else ["input|train"]
    assert all(re.search(rf"^  --(\[no\])?({flag})$", done.stdout, re.M) for flag in wanted)
    assert done.stdout.endswith("False\n") and done.stderr == ""


def test_no_program_hides_a_module_of_python():
    """Beside a script, Python finds files before its own modules: `inspect.py` would break every import."""
    names = {path.stem for path in (ROOT / "tfrecords_tools").glob("*.py")}
    assert not names & sys.stdlib_module_names


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of drawn photographs and two datasets of them."""
    root = tmp_path_factory.mktemp("programs")
    write_folder(root / "faces", identities=4, images_per_identity=5, size=112)
    convert(FolderSource(root / "faces"), root / "toy", num_shards=2)
    write_folder(root / "others", identities=2, images_per_identity=3, size=112, seed=5)
    convert(FolderSource(root / "others"), root / "small")
    (root / "table.csv").write_text("identity,new_identity\nid_00003,id_00002\n")
    (root / "exclude.csv").write_text("identity,key\nid_00001,\n,id_00000/001.png\n")
    return root


@pytest.fixture(scope="module")
def results(place):
    """Exit status, output and errors of all the programs."""
    (place / "damaged").mkdir()
    for path in (place / "small").iterdir():
        data = bytearray(path.read_bytes())
        if path.suffix == ".tfrecord":
            data[50] ^= 1
        (place / "damaged" / path.name).write_bytes(data)
    made = place / "made"
    toy = ["--input", place / "toy"]
    jobs = {
        "align": ["align", "--input", place / "faces", "--image_size=112x96", "--output", made / "align"],
        "reshard": ["reshard", *toy, "--shards=5", "--output", made / "reshard"],
        "merge": [
            "merge",
            f"--inputs={place / 'toy'},{place / 'small'}",
            "--persons=apart",
            "--output",
            made / "merge",
        ],
        "relabel": ["relabel", *toy, "--table", place / "table.csv", "--shuffle=0.4", "--output", made / "relabel"],
        "drop": [
            "drop_low_shot",
            *toy,
            "--exclude",
            place / "exclude.csv",
            "--min_images=5",
            "--output",
            made / "drop",
        ],
        "inspect": ["inspect_records", *toy, "--output", place / "look"],
        "index": ["index", *toy],
        "verify": ["verify", *toy],
        "damaged": ["verify", "--input", place / "damaged", "--report", place / "damaged.csv"],
        "overlap": [
            "overlap",
            "--train",
            place / "toy",
            f"--test={place / 'faces'}",
            "--output",
            place / "overlap.csv",
        ],
        "nothing": ["relabel", *toy, "--output", made / "nothing"],
    }
    return dict(zip(jobs, run(jobs.values()), strict=True))


def test_exit_status_tells_success(results):
    assert {name for name, (code, *_) in results.items() if code} == {"damaged", "nothing"}, results
    assert not any("Traceback" in err for *_, err in results.values())


def test_datasets_are_made_of_datasets(place, results):
    made = {name: DatasetInfo.load(place / "made" / name) for name in ("align", "reshard", "merge", "relabel", "drop")}
    assert {name: (info.images, info.identities, len(info.shards)) for name, info in made.items()} == {
        "align": (20, 4, 1),
        "reshard": (20, 4, 5),
        "merge": (26, 6, 1),
        "relabel": (20, 3, 1),
        "drop": (10, 2, 1),
    }
    assert made["align"].image_size == (112, 96) and made["merge"].label_map[0] == "small_id_00000"
    assert all(f"{place / 'made' / name}: {info.images} images" in results[name][1] for name, info in made.items())
    assert results["nothing"][2].endswith("Error: nothing to change: --table or --shuffle is needed.\n")


def test_datasets_are_looked_at(place, results):
    assert "20 images of 4 identities\nread 20 images, left out 0\n" in results["inspect"][1]
    assert (place / "look" / "index.html").exists()
    assert results["index"][1] == f"{place / 'toy'}: 20 records in index.npz\n"
    assert "20 good images, 0 problems" in results["verify"][1]
    assert results["damaged"][2].endswith("is damaged: 2 problems.\n")
    assert pd.read_csv(place / "damaged.csv")["kind"].tolist() == ["problem", "problem"]
    assert "4 identities by name, 20 images" in results["overlap"][1]
    assert len(pd.read_csv(place / "overlap.csv")) == 24
