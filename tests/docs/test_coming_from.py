"""docs/coming_from.md and the table of README.md: every flag, component and name of tfface in them exists."""

import dataclasses
import pathlib
import pkgutil
import re

import pytest

from tfface.config import components
from tfface.config.train_config import TrainConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "coming_from.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Configurations of arcface_torch: configs/base.py and what the others add.
SETTINGS = [
    "margin_list",
    "network",
    "embedding_size",
    "sample_rate",
    "interclass_filtering_threshold",
    "fp16",
    "batch_size",
    "gradient_acc",
    "optimizer",
    "momentum",
    "lr",
    "weight_decay",
    "num_epoch",
    "warmup_epoch",
    "rec",
    "num_classes",
    "num_image",
    "val_targets",
    "verbose",
    "frequent",
    "output",
    "resume",
    "save_all_states",
    "seed",
    "dali",
    "num_workers",
    "using_wandb",
]


def flags(text):
    """Pairs of a name and a value or "" of the flags in the tables of a text, without those of other programs."""
    rows = "".join(line for line in text.splitlines() if line.startswith("|"))
    code = [one for one in re.findall(r"`([^`]+)`", rows) if one.startswith("--")]
    return [pair for one in code for pair in re.findall(r"--(\w+)(?:=(\S+\(.*\)|\S+))?", one)]


def unknown(text):
    """The flags of `tfface train`, and the components in their values, that do not exist."""
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    found = []
    for name, value in flags(text):
        if name not in fields:
            found.append(name)
        elif (kind := fields[name].metadata.get("component")) or "(" in value:
            try:
                components.complete(kind or name, value)
            except ValueError as error:
                found.append(str(error))
    return found


def test_every_setting_of_insightface_has_its_row():
    named = set(re.findall(r"\b\w+\b", " ".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert set(SETTINGS) <= named


def test_flags_and_components_exist():
    assert len(flags(PAGE)) > 25
    assert unknown(PAGE) == []


@pytest.mark.parametrize("text", ["--marign=3", "--head=ArcFace(marign=0.5)", "--sampler=Unifrom(rate=0.1)"])
def test_a_wrong_flag_is_found(text):
    assert len(unknown(f"| `{text}` |")) == 1


@pytest.mark.parametrize("text", [PAGE, README], ids=["coming_from", "README"])
def test_names_exist(text):
    names = set(re.findall(r"`(tfface(?:\.\w+)+)", text)) | set(re.findall(r"\b(tfface\.\w+\.\w+)\(", text))
    assert len(names) > 2
    for name in names:
        pkgutil.resolve_name(name)


def test_calls_in_the_readme_are_components():
    rows = [row.strip("|").split("|") for row in README.splitlines() if row.startswith("|")]
    here = [cells[-1] for cells in rows if len(cells) == 6]
    calls = [call for cell in here for call in re.findall(r"`(\w+\(.*?\))`", cell)]
    assert len(calls) == 3
    for kind, call in zip(("head", "sampler", "loss"), calls, strict=True):
        components.complete(kind, call)
