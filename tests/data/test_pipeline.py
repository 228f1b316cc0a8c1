"""Input pipelines: every image once, the same stream if resumed or parallel, and the pixels of another decoder."""

import collections
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data import pipeline
from tfface.data.conversion import convert
from tfface.data.order.batches import PK
from tfface.data.order.shuffles import Blocks, Buffer

IMAGES, BATCH = 30, 4
STEPS = IMAGES // BATCH


@pytest.fixture
def dataset(faces, tmp_path):
    """Dataset of 30 images in 5 shards."""
    convert.convert_folder(faces, tmp_path / "toy", num_shards=5)
    return tmp_path / "toy"


@pytest.fixture
def reference(faces):
    """Images by key as Pillow decodes them, scaled to [-1, 1]."""
    return {
        path.relative_to(faces).as_posix(): (np.asarray(Image.open(path).convert("RGB"), np.float32) - 127.5) / 127.5
        for path in faces.glob("*/*/*")
    }


def batches(shards, count, *, batch_size=BATCH, image_size=(24, 20), shuffle=Buffer(), **options):  # noqa: B008
    """Batches of the stream of release 0.1; `test_block_stream.py` is about the other one."""
    dataset = pipeline.train_dataset(shards, batch_size, image_size, shuffle=shuffle, **options)
    return list(dataset.take(count).as_numpy_iterator())


def assert_equal(left, right):
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["label"], other["label"])


def fingerprints(stream):
    """Counts the distinct images of batches."""
    return collections.Counter(image.tobytes() for batch in stream for image in batch["image"])


def test_batches_have_their_type_and_never_end(dataset):
    stream = pipeline.train_dataset(dataset, BATCH, (24, 20))
    assert stream.element_spec == {
        "image": tf.TensorSpec([BATCH, 24, 20, 3], tf.float32),
        "label": tf.TensorSpec([BATCH], tf.int64),
    }
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY
    assert len(batches(dataset, 3 * STEPS)) == 3 * STEPS
    assert pipeline.steps_per_epoch(dataset, BATCH) == STEPS


def test_every_epoch_has_every_image_once_less_the_remainder(dataset, reference):
    known = {value.tobytes() for value in read_all(dataset)}
    stream = batches(dataset, 4 * STEPS, mirror=False)
    epochs = [fingerprints(stream[start : start + STEPS]) for start in range(0, 4 * STEPS, STEPS)]
    for epoch in epochs:
        assert set(epoch) <= known and len(epoch) == STEPS * BATCH == sum(epoch.values())
    assert len(known) == len(reference) == IMAGES
    assert len({frozenset(epoch) for epoch in epochs}) > 1, "the dropped remainder should differ between epochs"


def read_all(dataset):
    return np.concatenate([batch["image"] for batch in pipeline.eval_dataset(dataset, 8, (24, 20)).as_numpy_iterator()])


def test_order_differs_between_epochs_and_seeds(dataset):
    labels = np.array([batch["label"] for batch in batches(dataset, 2 * STEPS)])
    other = np.array([batch["label"] for batch in batches(dataset, STEPS, seed=1)])
    assert (labels[:STEPS] != labels[STEPS:]).any() and (labels[:STEPS] != other).any()
    assert (np.sort(labels[:STEPS], axis=None) != labels[:STEPS].ravel()).any()


def test_a_single_shard_is_shuffled_again_in_every_epoch(faces, tmp_path):
    convert.convert_folder(faces, tmp_path / "one", num_shards=1)
    stream = batches(tmp_path / "one", 3, batch_size=IMAGES, mirror=False)
    orders = {tuple(image.tobytes() for image in batch["image"]) for batch in stream}
    assert len(orders) == 3 and len({frozenset(order) for order in orders}) == 1


def test_labels_belong_to_their_images(dataset):
    truth = {
        image.tobytes(): label
        for batch in pipeline.eval_dataset(dataset, 8, (24, 20)).as_numpy_iterator()
        for image, label in zip(batch["image"], batch["label"], strict=True)
    }
    for batch in batches(dataset, STEPS, mirror=False):
        assert [truth[image.tobytes()] for image in batch["image"]] == batch["label"].tolist()


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_stream_is_a_function_of_seed_and_step(dataset, seed):
    whole = batches(dataset, 3 * STEPS, seed=seed)
    for start in (0, 1, STEPS - 1, STEPS, STEPS + 2, 2 * STEPS):
        tf.random.set_seed(start)
        assert_equal(batches(dataset, 3 * STEPS - start, seed=seed, start_step=start), whole[start:])


@pytest.mark.parametrize("batch", [{}, {"mirror": False}, {"shuffle": Blocks(4)}, {"batches": PK(2, 2)}])
def test_pixels_are_the_images_before_their_normalisation(dataset, batch):
    images, pixels = batches(dataset, STEPS, **batch), batches(dataset, STEPS, as_pixels=True, **batch)
    assert pixels[0].keys() == {"pixels", "label"} and pixels[0]["pixels"].dtype == np.uint8
    for one in pixels:
        one["image"] = np.asarray((tf.cast(one.pop("pixels"), tf.float32) - 127.5) * (1 / 127.5))
    assert_equal(pixels, images)


@pytest.mark.parametrize("reason", ["resized", "augmented", "of unknown size"])
def test_images_that_are_computed_are_no_pixels(dataset, reason):
    options = {"augmentations": ["color"]} if reason == "augmented" else {}
    size = 12 if reason == "resized" else (24, 20)
    if reason == "of unknown size":
        (dataset / "dataset.json").unlink()
        dataset = f"{dataset}/*.tfrecord"
    made = batches(dataset, 2, image_size=size, as_pixels=True, **options)
    assert_equal(made, batches(dataset, 2, image_size=size, **options))


def test_images_of_unknown_size_are_the_same(dataset):
    known, read = batches(dataset, STEPS), read_all(dataset)
    (dataset / "dataset.json").unlink()
    assert_equal(batches(f"{dataset}/*.tfrecord", STEPS), known)
    np.testing.assert_array_equal(read_all(f"{dataset}/*.tfrecord"), read)


def test_augmented_stream_resumes_too(dataset):
    options = {"augmentations": ["color:0.5", "crop:0.5", "erase:0.5", "jpeg:0.5", "low_resolution:0.5"]}
    whole = batches(dataset, STEPS + 2, **options)
    assert_equal(batches(dataset, 4, start_step=STEPS - 2, **options), whole[STEPS - 2 :])
    plain = batches(dataset, STEPS)
    assert_equal(batches(dataset, STEPS, augmentations=["jpeg:0", "color:0"]), plain)
    for one, other in zip(whole, plain, strict=False):
        np.testing.assert_array_equal(one["label"], other["label"])
    changed = np.mean([(one["image"] != other["image"]).any() for one, other in zip(whole, plain, strict=False)])
    assert changed > 0.9


def test_small_shuffle_buffer_resumes_too(dataset):
    whole = batches(dataset, 2 * STEPS, shuffle=Buffer(size=5))
    resumed = batches(dataset, STEPS, shuffle=Buffer(size=5), start_step=STEPS - 2)
    assert_equal(resumed, whole[STEPS - 2 : 2 * STEPS - 2])


@pytest.mark.parametrize("num_workers, parts", [(2, 1), (3, 1), (1, 4), (2, 3)])
def test_workers_and_their_devices_share_the_batches_of_one(dataset, num_workers, parts):
    steps, batch_size = 5, 12
    whole = batches(dataset, steps, batch_size=batch_size)
    options = {"batch_size": batch_size, "num_workers": num_workers, "parts": parts}
    shares = [batches(dataset, steps * parts, worker_index=worker, **options) for worker in range(num_workers)]
    for step, batch in enumerate(whole):
        pieces = [piece for share in shares for piece in share[step * parts : (step + 1) * parts]]
        assert_equal([{name: np.concatenate([piece[name] for piece in pieces]) for name in batch}], [batch])


def test_a_worker_resumes_too(dataset):
    options = {"batch_size": 10, "num_workers": 2, "worker_index": 1}
    whole = batches(dataset, 7, **options)
    assert_equal(batches(dataset, 4, start_step=3, **options), whole[3:])


def test_mirror_turns_about_half_of_the_images_and_nothing_else(dataset):
    plain, turned = batches(dataset, 60, mirror=False), batches(dataset, 60)
    flips = np.zeros((60, BATCH), bool)
    for step, (one, other) in enumerate(zip(plain, turned, strict=True)):
        for place, (image, augmented) in enumerate(zip(one["image"], other["image"], strict=True)):
            flips[step, place] = not np.array_equal(image, augmented)
            np.testing.assert_array_equal(image[:, ::-1] if flips[step, place] else image, augmented)
    assert abs(flips.sum() - 120) < 4 * 60**0.5  # binomial, n = 240: four standard deviations
    assert (flips[:STEPS] != flips[STEPS : 2 * STEPS]).any(), "every epoch should draw again"


def test_out_of_order_reading_still_has_every_image_once(dataset):
    stream = batches(dataset, STEPS, mirror=False, deterministic=False)
    assert len(fingerprints(stream)) == STEPS * BATCH


def test_eval_dataset_is_in_order_of_the_records_and_agrees_with_pillow(dataset, reference):
    stream = list(pipeline.eval_dataset(dataset, 8, (24, 20)).as_numpy_iterator())
    assert [len(batch["label"]) for batch in stream] == [8, 8, 8, 6]
    keys = [key.decode() for batch in stream for key in batch["key"]]
    stored = tf.data.TFRecordDataset(sorted(map(str, dataset.glob("*.tfrecord"))))
    examples = [tf.train.Example.FromString(one).features.feature for one in stored.as_numpy_iterator()]
    assert keys == [one["key"].bytes_list.value[0].decode() for one in examples]
    assert sorted(keys) == sorted(reference)
    for batch in stream:
        for image, key, label, identity in zip(*(batch[k] for k in ("image", "key", "label", "identity")), strict=True):
            tolerance = 1e-6 if key.endswith(b"PNG") else 1.01 / 127.5
            np.testing.assert_allclose(image, reference[key.decode()], atol=tolerance)
            assert identity.decode() == key.decode().split("/")[0] == f"person_{label}"


def test_datasets_that_number_identities_differently_are_refused(dataset, faces, tmp_path):
    (faces / "person_0").rename(faces / "person_7")
    convert.convert_folder(faces, tmp_path / "other")
    for make in (pipeline.train_dataset, pipeline.eval_dataset):
        with pytest.raises(ValueError, match=f"{tmp_path}/other and {dataset} have different label maps: merge them"):
            make([dataset, tmp_path / "other"], 4)


def test_folder_and_records_give_the_same_images(dataset, faces):
    def by_key(stream):
        return {
            key: image
            for batch in stream.as_numpy_iterator()
            for key, image in zip(batch["key"], batch["image"], strict=True)
        }

    stored = by_key(pipeline.eval_dataset(dataset, 8, 16))
    folder = by_key(pipeline.folder_dataset(faces, batch_size=7, image_size=16))
    assert list(folder) == sorted(stored)
    for key, image in folder.items():
        np.testing.assert_array_equal(image, stored[key])
    wanted = ["person_3/frontal/02.jpg", "person_0/profile/03.PNG"]
    assert list(by_key(pipeline.folder_dataset(faces, wanted, image_size=16))) == [key.encode() for key in wanted]


@pytest.mark.parametrize(
    "key", ["person_0/frontal/99.jpg", "person_0", "../secret.png", "person_0/../../secret.png", ""]
)
def test_folder_keys_stay_in_the_folder(faces, tmp_path, picture, key):
    (tmp_path / "secret.png").write_bytes(picture(0))
    for bad in (key, str(tmp_path / "secret.png")):
        with pytest.raises(ValueError, match="does not name an image"):
            pipeline.folder_dataset(faces, ["person_0/frontal/00.jpg", bad])


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        pipeline.folder_dataset(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 31}, "30 images .* batch_size 31"),
        ({"batch_size": 15, "num_workers": 2}, "batch_size.* multiple of .* 2 . 1, got 15"),
        ({"batch_size": 12, "num_workers": 2, "parts": 4}, "batch_size.* multiple of .* 2 . 4, got 12"),
        ({"parts": 0}, "parts.* 1 . 0"),
        ({"batch_size": 0}, "got 0"),
        ({"num_workers": 0}, "got 0"),
        ({"num_workers": 2, "worker_index": 2}, "worker_index.* got 2"),
        ({"worker_index": -1}, "worker_index.* got -1"),
        ({"seed": -1}, "seed.* got -1"),
        ({"start_step": -3}, "start_step.* got -3"),
        ({"shuffle": 10_000}, "`shuffle` must be Blocks or Buffer, .* got 10000"),
        ({"image_size": 0}, "image_size.* got 0"),
        ({"augmentations": ["blur"]}, "augmentation.* got 'blur'"),
    ],
)
def test_bad_arguments_are_refused_with_their_value(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        batches(dataset, 1, **options)


def test_real_faces_agree_with_pillow(shared_data):
    root = shared_data / "cfp112" / "Data" / "Images"
    keys = [f"{person:03d}/{view}/01.jpg" for person in (1, 250, 500) for view in ("frontal", "profile")]
    (batch,) = pipeline.folder_dataset(root, keys).as_numpy_iterator()
    for image, key in zip(batch["image"], keys, strict=True):
        expected = np.asarray(Image.open(io.BytesIO((root / key).read_bytes())).convert("RGB"), np.float32)
        np.testing.assert_allclose(image * 127.5 + 127.5, expected, atol=1.01)
