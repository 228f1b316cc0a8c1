"""File names of shards: written, parsed and found by one rule."""

import pathlib

import pytest

from tfface.data.formats.shard_names import (
    MAX_SHARDS,
    check_name,
    find_shards,
    folder_name,
    parse_shard_name,
    shard_name,
)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("toy", 0, 1), "toy-00000-of-00001.tfrecord"),
        (("a-00001-of-00002", 7, 12), "a-00001-of-00002-00007-of-00012.tfrecord"),
        (("v1.2_x", MAX_SHARDS - 1, MAX_SHARDS), "v1.2_x-99998-of-99999.tfrecord"),
    ],
)
def test_names_are_parsed_as_they_are_written(arguments, name):
    assert shard_name(*arguments) == name
    assert parse_shard_name(name) == (arguments[0], arguments[2])
    assert parse_shard_name(f"folder/{name}") == (f"folder/{arguments[0]}", arguments[2])


@pytest.mark.parametrize(
    "name", ["toy.tfrecord", "toy-0-of-1.tfrecord", "-00000-of-00001.tfrecord", "toy-00000-of-00001.tfrecord.json"]
)
def test_other_names_are_not_those_of_shards(name):
    assert parse_shard_name(name) is None


def test_only_the_shards_of_a_dataset_are_found(tmp_path):
    for name in ("toy-00001-of-00002.tfrecord", "toy-00000-of-00002.tfrecord", "toys-00000-of-00001.tfrecord"):
        (tmp_path / name).touch()
    for name in (
        "toy-0000x-of-00002.tfrecord",
        "toy-00000-of-00002.tfrecord.json",
        "toy-00000-of-00002.tfrecord.1.tmp",
    ):
        (tmp_path / name).touch()
    assert [path.name for path in find_shards(tmp_path, "toy")] == [shard_name("toy", index, 2) for index in range(2)]


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a/b", "a b", "..", "a\n"])
def test_names_that_cannot_start_a_file_name_are_refused(name):
    with pytest.raises(ValueError, match="^a prefix must consist of letters, digits, '_', '-' and '.', got "):
        check_name(name, "a prefix")
    assert check_name("v1.2-x", "a prefix") == "v1.2-x"


@pytest.mark.parametrize(
    "folder, name",
    [
        ("my photos", "my_photos"),
        ("a/Gesichter für 2024 (neu)", "Gesichter_für_2024_neu_"),
        (".x", "x"),
        ("-", "dataset"),
    ],
)
def test_every_folder_gives_a_name(folder, name):
    assert folder_name(pathlib.Path(folder)) == name
    assert check_name(name, "a name") == name
