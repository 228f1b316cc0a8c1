"""Origins of datasets: known behind every transformation, and labels of another dataset by name."""

import shutil

import pytest
import tensorflow as tf

from tfface import data
from tfface.data import origins
from tfface.data.conversion.convert import convert_folder


@pytest.fixture
def datasets(faces, tmp_path):
    """Folder of `all`, six people, and of `some`, three of them, whom it numbers otherwise."""
    convert_folder(faces, tmp_path / "all")
    for person in (1, 3, 5):
        shutil.copytree(faces / f"person_{person}", tmp_path / "some_faces" / f"person_{person}")
    convert_folder(tmp_path / "some_faces", tmp_path / "some")
    return tmp_path


def numbers(dataset):
    """The label of every identity in a dataset."""
    found = [(each["identity"], each["label"]) for each in dataset.as_numpy_iterator()]
    return {name.decode(): label for batch in found for name, label in zip(*batch, strict=True)}


TRANSFORMATIONS = {
    "none": lambda one: one,
    "map": lambda one: one.map(lambda batch: (batch["image"], batch["label"])),
    "batches anew": lambda one: one.unbatch().batch(3).repeat().take(4).prefetch(2),
    "options": lambda one: one.with_options(tf.data.Options()),
    "cache": lambda one: one.cache().shuffle(4),
    "filter": lambda one: one.filter(lambda batch: True).apply(tf.data.experimental.assert_cardinality(9)),
    "zip": lambda one: tf.data.Dataset.zip((one, tf.data.Dataset.range(4))),
    "distribute": lambda one: tf.distribute.get_strategy().experimental_distribute_dataset(one),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("kind", ["train", "eval"])
def test_transformed_datasets_know_their_records(datasets, name, kind):
    opened = data.open_records(datasets / "all")
    one = data.train_dataset(opened, 6, 16) if kind == "train" else data.eval_dataset(opened, 6, 16)
    (origin,) = origins.origins(TRANSFORMATIONS[name](one))
    assert origin.files is opened
    assert origins.label_map(one).source == str(datasets / "all") and origins.label_map(one).identities == 6


def test_replicas_know_their_records(datasets, mirrored):
    distributed = mirrored(2).experimental_distribute_dataset(data.eval_dataset(datasets / "all", 6, 16))
    assert origins.label_map(distributed).source == str(datasets / "all")


def test_label_maps_are_equal_if_labels_stand_for_the_same_people(datasets):
    one, same, other = (
        origins.label_map(data.eval_dataset(datasets / name, 6, 16, labels_of=labels_of))
        for name, labels_of in (("all", None), ("some", datasets / "all"), ("some", None))
    )
    assert one == same != other
    joined = data.eval_dataset(datasets / "all", 6, 16).concatenate(data.eval_dataset(datasets / "some", 6, 16))
    assert origins.label_map(joined) is None and len(origins.origins(joined)) == 2
    for unknown in (None, [1], tf.data.Dataset.range(3)):
        assert origins.origins(unknown) == [] and origins.label_map(unknown) is None


def test_labels_of_another_dataset_go_by_name(datasets):
    some, everybody = datasets / "some", datasets / "all"
    own, all_labels = numbers(data.eval_dataset(some, 4, 16)), numbers(data.eval_dataset(everybody, 4, 16))
    assert own == {"person_1": 0, "person_3": 1, "person_5": 2}
    for labels_of in (everybody, data.open_records(everybody), str(everybody / "*.tfrecord")):
        assert numbers(data.eval_dataset(some, 4, 16, labels_of=labels_of)) == {name: all_labels[name] for name in own}


def test_strangers_have_no_labels_of_another_dataset(datasets):
    message = (
        f"{datasets}/all cannot get the labels of {datasets}/some: 3 of its 6 identities are others, such as "
        f"'person_0', 'person_2', 'person_4'. Convert its images with --labels_from={datasets}/some --skip_bad"
    )
    with pytest.raises(ValueError) as caught:
        data.eval_dataset(datasets / "all", 4, 16, labels_of=datasets / "some")
    assert message in str(caught.value)
    (datasets / "some" / "dataset.json").unlink()
    with pytest.raises(ValueError, match=r"both datasets need the dataset\.json"):
        data.eval_dataset(datasets / "all", 4, 16, labels_of=str(datasets / "some" / "*"))


def test_damage_is_named_in_any_iteration(datasets):
    (shard,) = (datasets / "all").glob("*.tfrecord")
    content = bytearray(shard.read_bytes())
    content[200] ^= 1
    shard.write_bytes(content)
    batches = data.eval_dataset(datasets / "all", 4, 16).map(lambda batch: batch["image"])
    with (
        pytest.raises(ValueError, match=rf"{shard}: record 0 at byte 0: the data .* checksum"),
        data.naming_bad_data(batches),
    ):
        list(batches)


def test_a_bad_file_is_named_in_any_iteration(faces):
    (faces / "person_2" / "frontal" / "01.PNG").write_bytes(b"\x89PNG\r\n\x1a\n")
    images = data.folder_dataset(faces, image_size=16)
    with (
        pytest.raises(ValueError, match=r"person_2/frontal/01\.PNG: not a JPEG or PNG image"),
        data.naming_bad_data(images),
    ):
        list(images)
