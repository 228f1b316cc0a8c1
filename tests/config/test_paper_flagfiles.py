"""Flagfiles of the papers' tables: rows parse and are those that the page of experiments lists; each trains a step."""

import csv
import dataclasses
import functools
import pathlib
import re
import shlex

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

import tfface
from tfface import flagfiles
from tfface.config import components, specs, train_config, train_flags
from tfface.config.build import build_encoder, build_head, build_optimizer, build_schedule, completed
from tfface.jobs.reproduction.experiments import comment, read_experiments

ROOT = pathlib.Path(__file__).resolve().parents[2]
IN_FOLDERS = {name: path for name, path in flagfiles.packaged().items() if "/" in name}
PROTOCOLS = sorted(name for name in IN_FOLDERS if name.startswith("protocols/"))
FILES = sorted(name for name in IN_FOLDERS if name not in PROTOCOLS and not name.endswith("/base.flags"))
# The tables that train something. Table 10 of SphereFace2 counts images, Table 12 compares formulas.
TABLES = {
    "ArcFace": ["2", "3", "4", "5", "6", "7", "8", "9"],
    "SphereFace2": ["3", "4", "5", "6", "7", "8", "9", "11", "Figure 10"],
    "BroadFace": ["1", "2", "3", "4", "5", "6a", "6b", "Figure 7", "section 4.1"],
    "D-Softmax": ["1", "2", "3"],
}


def rows(name):
    """The rows that the comment of a flagfile lists: name -> flags."""
    return {each.row: each.flags for each in read_experiments(name) if each.row}


def commands(name, program="train"):
    """The commands of a program in a comment, as lists of arguments; ROW and FLAGS are those of each row."""
    found = []
    for command in re.findall(rf"^#   tfface {program} (.*)$", comment(name), re.MULTILINE):
        several = rows(name) if "ROW" in command else {"": ()}
        for row, given in several.items():
            found.append(shlex.split(command.replace("ROW", row).replace("FLAGS", shlex.join(given))))
    return found


@functools.cache
def parsed(*arguments):
    values = flags.FlagValues()
    train_flags.define_flags(values)
    assert values(flagfiles.expand(["train", *arguments]))[1:] == []
    return train_flags.from_flags(values)


TRAININGS = {tuple(command): name for name in FILES for command in commands(name)}


def test_the_comments_have_their_rows():
    counts = {name: len(rows(name)) for name in FILES}
    assert counts["arcface/table2.flags"] + counts["arcface/table2_triplet.flags"] == 18
    assert [counts[f"sphereface2/table{number}.flags"] for number in (3, 4, 5, 11, 6, 7)] == [5, 8, 6, 13, 8, 5]
    assert [counts[f"dsoftmax/table{number}.flags"] for number in (1, 2, 3)] == [9, 9, 4]
    assert counts["broadface/table6a.flags"] == 7 and counts["broadface/table5.flags"] == 8
    assert len(TRAININGS) == sum(max(count, 1) for count in counts.values())


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_an_experiment_of_its_own(name):
    own = parsed(f"--flagfile={name}")
    found = []
    for command in commands(name):
        settings = parsed(*command)
        found.append(completed(settings))
        build_head(settings, 8)
        total = settings.steps or 100
        build_schedule(settings, steps_per_epoch=10, total_steps=total)
        assert settings.epochs == 50 or settings.steps, "the papers of faces count steps"
    # Without further flags, a file is the row that it names.
    assert completed(own) in found
    # Three rows of SphereFace2's Table 11 are one training.
    different = {str(dataclasses.replace(each, run_dir="r")) for each in found}
    assert len(different) == len(found) - (2 if name == "sphereface2/table11.flags" else 0)
    assert len({each.run_dir for each in found}) == len(found)


@pytest.mark.parametrize("name", FILES)
def test_what_a_training_starts_from_is_trained(name):
    trained = {parsed(*command).run_dir: command for command in TRAININGS}
    for command in commands(name):
        settings = parsed(*command)
        if settings.init_from:
            source = parsed(*trained[settings.init_from])
            shared = ("backbone", "embedding_dim", "image_size", "train_data")
            assert [getattr(settings, key) for key in shared] == [getattr(source, key) for key in shared]


def different_losses():
    """The settings of the rows, one of each head with its losses and its sampler."""
    found = {}
    for settings in (completed(parsed(*command)) for command in TRAININGS):
        found.setdefault((settings.head, str(settings.loss), settings.sampler), settings)
    return found.values()


@pytest.mark.parametrize("settings", [pytest.param(each, id=each.run_dir) for each in different_losses()])
def test_rows_train_a_step(settings):
    inputs = keras.Input((8,))
    encoder = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(6)(inputs)))
    model = tfface.FaceModel(encoder, build_head(settings, 8))
    # Graphs of every head are compiled by other tests.
    schedule = build_schedule(settings, 10, settings.steps or 100)
    model.compile(build_optimizer(settings, schedule, encoder), run_eagerly=True)
    before = encoder.get_weights()[0]
    embeddings = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    assert np.isfinite(model.train_on_batch(embeddings, np.array([0, 1, 1, 5])))
    assert not np.array_equal(encoder.get_weights()[0], before)


def small(settings):
    """The settings with a network and images that take a second."""
    spec = specs.parse(settings.backbone)
    kept = {key: value for key, value in spec.arguments.items() if key in ("dropout", "squeeze_excite")}
    written = "".join(f", {key}={value!r}" for key, value in kept.items())
    family = "IResNet" if spec.name.startswith("IResNet") else "SFNet"
    return dataclasses.replace(
        settings, backbone=f"{family}(units=[1, 1, 1, 1]{written})", image_size=56, embedding_dim=8, init_from=None
    )


HANDFUL = ("arcface/table2_triplet.flags", "broadface/table1.flags")


@pytest.mark.parametrize(
    "name", [name if name in HANDFUL else pytest.param(name, marks=pytest.mark.slow) for name in FILES]
)
def test_every_file_trains_a_step_on_two_replicas(name, mirrored):
    settings = small(completed(parsed(f"--flagfile={name}")))
    strategy = mirrored(2)
    with strategy.scope():
        encoder = build_encoder(settings)
        model = tfface.FaceModel(encoder, build_head(settings, 6), settings.micro_batches, settings.ema)
        model.compile(build_optimizer(settings, build_schedule(settings, 10, settings.steps or 100), encoder))
        model.optimizer.build(model.trainable_variables)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 56, 56, 3)).astype("float32")
    labels = np.array([0, 0, 1, 1, 2, 2, 5, 5], "int32")
    batch = tf.data.Dataset.from_tensors({"image": images, "label": labels}).unbatch().batch(8, drop_remainder=True)
    before = [np.array(weight) for weight in model.encoder.trainable_weights]
    history = model.fit(strategy.experimental_distribute_dataset(batch), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    after = [np.array(weight) for weight in model.encoder.trainable_weights]
    assert all(np.isfinite(weight).all() for weight in after)
    assert not np.array_equal(before[0], after[0])


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted({str(specs.parse(parsed(*each).backbone)) for each in TRAININGS}))
def test_the_networks_are_built(backbone):
    # ImageNet's weights would be downloaded.
    backbone = backbone.replace("weights='imagenet'", "weights=None")
    settings = train_config.TrainConfig(run_dir="r", train_data="t", backbone=backbone, image_size=56, embedding_dim=8)
    encoder = build_encoder(settings)
    assert isinstance(encoder, keras.Model) and encoder.output_shape == (None, 8)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_evaluations_name_protocols_in_each_line(name):
    lines = flagfiles.expand(["evaluate", f"--flagfile={name}"])[1:]
    values = [line.removeprefix("--protocol=") for line in lines]
    assert values and all(line.startswith("--protocol=") for line in lines)
    for value in values:
        assert components.complete("protocol", value)


def listed():
    """The lines of the page: (paper, table, flagfile, rows)."""
    page = (ROOT / "docs" / "paper_experiments.md").read_text(encoding="utf-8")
    for paper, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^\| (?!table|-).*$", section, re.MULTILINE):
            table, _, name, cell = (each.strip() for each in line.strip("|").split(" | "))
            yield paper, table, name.strip("`"), re.findall(r"`(.+?)`", cell)


def test_the_page_lists_every_table_file_and_row():
    found = {}
    for paper, table, name, names in listed():
        found.setdefault(paper, {}).setdefault(table, []).append(name)
        assert set(names) <= set(rows(name)) and bool(names) == bool(rows(name)), name
    assert {paper: sorted(tables) for paper, tables in found.items()} == {
        paper: sorted(tables) for paper, tables in TABLES.items()
    }
    pairs = {(name, row) for _, _, name, names in listed() for row in names or [None]}
    assert pairs == {(name, row) for name in FILES for row in rows(name) or [None]}


def test_comments_have_the_numbers_of_the_papers():
    with open(ROOT / "tfface" / "cli" / "paper_results.csv", newline="", encoding="utf-8") as file:
        results = [line for line in csv.DictReader(file) if line["paper"] in TABLES and line["training"] != "quoted"]
    assert len(results) > 400
    files, numbers = {}, {}
    for paper, table, name, _ in listed():
        files.setdefault((paper, table), set()).add(name)
        # Of IJB the papers print fractions.
        numbers[name] = {round(float(each) * factor, 4) for each in re.findall(r"\d+\.\d+", comment(name))
                         for factor in (1, 100)}  # fmt: skip
    for line in results:
        known = set().union(*(numbers[name] for name in files[line["paper"], line["table"]]))
        assert round(float(line["value"]), 4) in known, line
