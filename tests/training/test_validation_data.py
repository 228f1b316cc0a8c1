"""Data that a FaceModel reads: labels of other people are refused, damaged records are named."""

import shutil
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import tfface
from tfface import data, heads, losses
from tfface.data.conversion.convert import convert_folder

SIDE = 16


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Folder of datasets of people a to f: `train`, other images of its people as `again` and `known`, and `others`."""
    root = tmp_path_factory.mktemp("validation")
    rng = np.random.default_rng(0)
    for folder, people in (("train", "abc"), ("again", "bc"), ("others", "def")):
        for person in people:
            (root / "faces" / folder / person).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
                Image.fromarray(pixels).save(root / "faces" / folder / person / f"{folder}{number}.png")
        convert_folder(root / "faces" / folder, root / folder)
    convert_folder(root / "faces" / "again", root / "known", labels_from=root / "train")
    return root


def face_model(head=None):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = tfface.FaceModel(
        keras.Sequential([*layers, keras.layers.BatchNormalization()]), head or heads.CosFace(3, scale=8.0)
    )
    model.compile(keras.optimizers.SGD(0.01))
    return model


def train_data(faces, name="train"):
    return data.train_dataset(faces / name, 6, SIDE, epochs=1)


def eval_data(faces, name, **options):
    return data.eval_dataset(faces / name, 6, SIDE, **options)


def refused(faces, name):
    return pytest.raises(
        ValueError,
        match=rf"labels of {faces}/{name} \(\d identities\) number other people than those of {faces}/train \(3\).*"
        rf"--labels_from={faces}/train, .*--holdout_images.*labels_of='{faces}/train'",
    )


@pytest.mark.parametrize("name", ["others", "again"])
def test_a_loss_on_labels_of_other_people_is_refused(faces, name, tmp_path):
    model = face_model()
    with refused(faces, name):
        model.fit(train_data(faces), validation_data=eval_data(faces, name), verbose=0)
    assert int(model.optimizer.iterations) == 0
    model.fit(train_data(faces), verbose=0)
    pairs = eval_data(faces, name).map(lambda batch: (batch["image"], batch["label"])).prefetch(1)
    with refused(faces, name):
        model.evaluate(pairs, verbose=0)
    model.save(tmp_path / "model.keras")
    with refused(faces, name):
        keras.models.load_model(tmp_path / "model.keras").evaluate(pairs, verbose=0)


def test_losses_on_the_same_people_are_measured(faces):
    model = face_model()
    known, by_name = eval_data(faces, "known"), eval_data(faces, "again", labels_of=faces / "train")
    with warnings.catch_warnings():
        # Keras would warn of the end of a dataset that does not tell its number of batches.
        warnings.simplefilter("error", UserWarning)
        history = model.fit(train_data(faces), validation_data=known, verbose=0).history
        found = model.evaluate(by_name, verbose=0)
    assert history["val_loss"] == [pytest.approx(found)] == [pytest.approx(model.evaluate(known, verbose=0))]
    # The labels of b and c are 1 and 2.
    embeddings = np.concatenate([model.encoder(batch["image"]) for batch in known])
    labels = np.concatenate([[b"abc".index(name) for name in batch["identity"].numpy()] for batch in known])
    assert found == pytest.approx(np.mean(model.head(embeddings, labels)), rel=1e-5)


def test_what_is_unknown_is_not_refused(faces):
    model = face_model()
    model.evaluate(eval_data(faces, "others"), verbose=0)  # It has not been trained.
    (batch,) = data.eval_dataset(faces / "others", 12, SIDE)
    model.fit(batch["image"], batch["label"], validation_data=eval_data(faces, "train"), verbose=0)
    assert model.label_map is None


def test_losses_that_only_compare_labels_take_other_people(faces):
    pairs = face_model(losses.TripletLoss())
    pairs.fit(train_data(faces), validation_data=eval_data(faces, "others"), verbose=0)
    centers = face_model(losses.CenterLoss(3))
    with refused(faces, "others"):
        centers.fit(train_data(faces), validation_data=eval_data(faces, "others"), verbose=0)


@pytest.mark.parametrize("method", ["fit", "validation", "evaluate", "predict"])
def test_a_damaged_record_is_named(faces, tmp_path, method):
    damaged = tmp_path / "damaged"
    shutil.copytree(faces / "train", damaged)
    (shard,) = damaged.glob("*.tfrecord")
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    calls = {
        "fit": lambda model: model.fit(train_data(tmp_path, "damaged"), verbose=0),
        "validation": lambda model: model.fit(
            train_data(faces), validation_data=eval_data(tmp_path, "damaged"), verbose=0
        ),
        "evaluate": lambda model: model.evaluate(eval_data(tmp_path, "damaged"), verbose=0),
        "predict": lambda model: model.predict(eval_data(tmp_path, "damaged").prefetch(2), verbose=0),
    }
    with pytest.raises(ValueError) as caught:
        calls[method](face_model())
    assert str(caught.value).startswith(
        f"{shard}: record 0 at byte 0: the data of a record do not match their checksum"
    )
    assert "\n" not in str(caught.value)


def test_a_bad_file_is_named_by_predict(faces, tmp_path):
    shutil.copytree(faces / "faces" / "train" / "a", tmp_path / "a")
    (tmp_path / "a" / "train2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"a/train2\.png: "):
        face_model().predict(data.folder_dataset(tmp_path, image_size=SIDE), verbose=0)


def test_a_distributed_dataset_brings_no_warning_of_shuffling(faces, mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        model = face_model()
    batches = strategy.experimental_distribute_dataset(train_data(faces))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with refused(faces, "others"):
            model.fit(batches, validation_data=eval_data(faces, "others"), verbose=0)
        model.fit(batches, validation_data=eval_data(faces, "known"), steps_per_epoch=2, verbose=0)
    assert not [each for each in caught if "shuffle" in str(each.message)]
