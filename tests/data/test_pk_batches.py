"""Batches of P identities with K images each: what they hold, and the laws of the stream."""

import collections
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_pipeline import assert_equal

import tfface
from tfface import data, heads, losses
from tfface.data.conversion import convert
from tfface.data.formats.tfrecord_files import scan_records
from tfface.data.identity_index import group_by_identity
from tfface.data.order.batches import image_order
from tfface.distribute.strategies import distribute

COUNTS = (1, 2, 3, 5, 7, 11, 4)  # Images per identity.
IMAGES, IDENTITIES = sum(COUNTS), len(COUNTS)
BATCHES = data.PK(identities=3, images=4)
SIZE, STEPS = 12, IMAGES // 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, picture):
    """Dataset of 33 images of 7 identities in 4 shards."""
    root = tmp_path_factory.mktemp("uneven")
    for person, count in enumerate(COUNTS):
        (root / "faces" / f"person_{person}").mkdir(parents=True)
        for shot in range(count):
            (root / "faces" / f"person_{person}" / f"{shot:02d}.png").write_bytes(picture(100 * person + shot))
    convert.convert_folder(root / "faces", root / "records", num_shards=4)
    return root / "records"


def stream(shards, count, *, batches=BATCHES, **options):
    dataset = data.train_dataset(shards, image_size=(24, 20), batches=batches, **options)
    return list(dataset.take(count).as_numpy_iterator())


def images_by_label(dataset):
    """Dict from label to the set of its images, as bytes, read record by record."""
    found = collections.defaultdict(set)
    for batch in data.eval_dataset(dataset, 8, (24, 20)).as_numpy_iterator():
        for image, label in zip(batch["image"], batch["label"], strict=True):
            found[label].add(image.tobytes())
    return found


def test_a_batch_has_images_of_its_identities(dataset):
    known = images_by_label(dataset)
    for batch in stream(dataset, 20, mirror=False):
        labels = batch["label"].reshape(3, 4)
        assert len({*labels[:, 0]}) == 3 and (labels == labels[:, :1]).all()
        for label, images in zip(labels[:, 0], batch["image"].reshape(3, 4, -1), strict=True):
            shown = {image.tobytes() for image in images}
            assert shown <= known[label] and len(shown) == min(4, COUNTS[label])


def test_every_identity_comes_at_most_once_a_round(dataset):
    # 6 of the 7 identities fill the 2 batches of a round.
    labels = np.array([batch["label"] for batch in stream(dataset, 60)])
    missing = collections.Counter()
    for shown in map(set, labels.reshape(30, 24)):
        assert len(shown) == 6
        missing[({*range(7)} - shown).pop()] += 1
    assert len(missing) == 7, "each identity should be left out now and then"


def test_an_identity_shows_other_images_until_it_has_shown_all():
    starts = np.array([0, 11, 19])
    order = image_order(starts, data.PK(2, 4), seed=3)
    turns = [order(step) for step in range(40)]
    cycles = collections.defaultdict(list)
    for images in turns:
        for four in images.reshape(2, 4):
            cycles[four[0] >= 11].append(four)
    for start, count, turns in ((0, 11, cycles[False]), (11, 8, cycles[True])):
        pairs = [np.concatenate(pair) for pair in zip(turns[::2], turns[1::2], strict=True)]
        assert all(len({*pair}) == 8 for pair in pairs)
        assert {*np.ravel(pairs)} == {*range(start, start + count)}
        assert len({tuple(pair) for pair in pairs}) == len(pairs)


def test_the_order_does_not_change_between_releases():
    order = image_order(np.array([0, 3, 8, 9, 15]), data.PK(2, 3), seed=5)
    assert [order(step).tolist() for step in (0, 1, 1000)] == [
        [8, 8, 8, 12, 10, 13],
        [6, 7, 4, 1, 2, 0],
        [6, 5, 4, 8, 8, 8],
    ]


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_stream_is_a_function_of_seed_and_step(dataset, seed):
    options = {"seed": seed, "augmentations": ["crop:0.5", "color:0.5"]}
    whole = stream(dataset, 9, **options)
    for start in (0, 1, STEPS, STEPS + 2, 7):
        tf.random.set_seed(start)
        assert_equal(stream(dataset, 9 - start, start_step=start, **options), whole[start:])
    assert (np.array([batch["label"] for batch in whole]) != [b["label"] for b in stream(dataset, 9, seed=7)]).any()


@pytest.mark.parametrize("num_workers, parts", [(2, 1), (3, 1), (1, 4), (2, 3), (1, 12)])
def test_workers_and_their_devices_share_the_batches_of_one(dataset, num_workers, parts):
    whole = stream(dataset, 5)
    options = {"num_workers": num_workers, "parts": parts}
    shares = [stream(dataset, 5 * parts, worker_index=worker, **options) for worker in range(num_workers)]
    for step, batch in enumerate(whole):
        pieces = [piece for share in shares for piece in share[step * parts : (step + 1) * parts]]
        assert_equal([{name: np.concatenate([piece[name] for piece in pieces]) for name in batch}], [batch])
    last = stream(dataset, parts, start_step=4, worker_index=num_workers - 1, **options)
    assert_equal(last, shares[-1][-parts:])


def test_an_epoch_is_the_number_of_images_by_the_batch_size(dataset):
    assert data.steps_per_epoch(dataset, batches=BATCHES) == data.steps_per_epoch(dataset, 12) == STEPS
    infinite = data.train_dataset(dataset, image_size=(24, 20), batches=BATCHES)
    assert infinite.cardinality() == tf.data.INFINITE_CARDINALITY
    assert infinite.element_spec["image"].shape == (12, 24, 20, 3)


@pytest.mark.parametrize("indexed", [True, False])
def test_records_are_grouped_by_their_labels_in_their_order(dataset, tmp_path, indexed):
    for file in dataset.iterdir():
        if indexed or file.suffix != ".npz":
            shutil.copy(file, tmp_path)
    records = data.open_records(tmp_path)
    assert records.lengths_checked != indexed
    numbers, starts = group_by_identity(records)
    stored = [one for path in records.shards for one in tf.data.TFRecordDataset(path).as_numpy_iterator()]
    labels = data.parse_example(stored)["label"].numpy()
    assert starts.tolist() == [0, *np.cumsum(COUNTS)]
    for label, (start, stop) in enumerate(zip(starts, starts[1:], strict=False)):
        assert numbers[start:stop].tolist() == np.flatnonzero(labels == label).tolist()
    index = records.random_access
    assert index.places.nbytes + index.lengths.nbytes + numbers.nbytes == 16 * IMAGES


def test_bad_records_are_left_out_or_named(dataset, tmp_path):
    shard = sorted(dataset.glob("*.tfrecord"))[2]
    (_, (offset, _), *others) = scan_records(shard)
    damaged = bytearray(shard.read_bytes())
    damaged[offset + 200] ^= 1
    (tmp_path / shard.name.replace("-of-00004", "-of-00001").replace("00002", "00000")).write_bytes(damaged)
    pattern = str(tmp_path / "*.tfrecord")
    with pytest.raises(ValueError, match=f"record 1 at byte {offset}.*checksum"):
        stream(pattern, 1, batches=data.PK(2, 2))
    records = data.open_records(pattern, skip_bad=True)
    assert len(group_by_identity(records)[0]) == 1 + len(others)
    batches = stream(records, 6, batches=data.PK(2, 2), mirror=False)
    assert {image.tobytes() for batch in batches for image in batch["image"]} <= set().union(
        *images_by_label(dataset).values()
    )


def test_a_record_that_is_damaged_later_is_named(dataset, tmp_path):
    for shard in dataset.glob("*"):
        (tmp_path / shard.name).write_bytes(shard.read_bytes())
    batches = data.train_dataset(tmp_path, image_size=(24, 20), batches=BATCHES)
    for shard in tmp_path.glob("*.tfrecord"):
        damaged = bytearray(shard.read_bytes())
        damaged[200] ^= 1
        shard.write_bytes(damaged)
    message = f"{tmp_path}/.*tfrecord: record 0 at byte 0.*do not match"
    with pytest.raises(ValueError, match=message), data.naming_bad_records(tmp_path):
        list(batches.take(20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": data.PK(8, 2)}, r"PK\(identities=8, images=2\) needs 8 identities, the dataset has 7"),
        ({"batches": data.PK(7, 5)}, "33 images do not fill one batch of batch_size 35"),
        ({"batch_size": 16}, r"`batch_size` must be 12 with PK\(identities=3, images=4\), or left out; got 16"),
        ({"batches": None}, "pass `batch_size`, or `batches`"),
        ({"batches": 12}, "`batches` must be a PK, .*; got 12"),
        ({"num_workers": 5}, "multiple of num_workers . parts = 5 . 1, got 12"),
        ({"epochs": 0}, "`epochs` must be at least 1, .* got 0"),
        ({"epochs": 2, "start_step": 1}, "`start_step` must be a multiple of the 2 steps per epoch, got 1"),
    ],
)
def test_bad_arguments_are_refused_with_their_value(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        stream(dataset, 1, **options)


@pytest.mark.parametrize("options", [{"identities": 0}, {"images": 0}, {"images": 2.5}])
def test_a_batch_of_nothing_is_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
        data.PK(**options)


@pytest.mark.parametrize("of", [{"batches": BATCHES}, {"batches": None, "batch_size": 12}], ids=["PK", "plain"])
def test_a_finite_dataset_takes_the_next_epochs_in_each_iteration(dataset, of):
    whole = stream(dataset, 7 * STEPS, **of)
    finite = data.train_dataset(dataset, image_size=(24, 20), epochs=2, start_step=STEPS, **of)
    assert finite.cardinality() == 2 * STEPS
    assert_equal(list(finite.as_numpy_iterator()), whole[STEPS : 3 * STEPS])
    assert_equal(list(finite.as_numpy_iterator()), whole[3 * STEPS : 5 * STEPS])
    parts = data.train_dataset(dataset, image_size=(24, 20), epochs=1, parts=2, **of)
    assert parts.cardinality() == 2 * STEPS == len(list(parts))


def test_keras_trains_for_the_epochs_of_the_data(dataset):
    seen = []
    model = keras.Sequential([keras.Input((24, 20, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(7)])
    model.compile(loss="sparse_categorical_crossentropy")
    batches = data.train_dataset(dataset, 12, (24, 20), epochs=1).map(lambda batch: (batch["image"], batch["label"]))
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(step))
    model.fit(batches, epochs=3, callbacks=[counter], verbose=0)
    assert seen == [*range(STEPS)] * 3


def train(strategy, dataset):
    """Trains with a triplet loss for two epochs; returns the weights."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        encoder = keras.Sequential([keras.Input((24, 20, 3)), keras.layers.Flatten(), keras.layers.Dense(6)])
        head = heads.HeadWithLosses(heads.CosFace(7, scale=8.0), [(1.0, losses.TripletLoss())])
        model = tfface.FaceModel(encoder, head)
        model.compile(optimizer=keras.optimizers.SGD(0.001))

    def make(num_workers, worker_index, parts):
        share = {"num_workers": num_workers, "worker_index": worker_index, "parts": parts}
        return data.train_dataset(dataset, image_size=(24, 20), batches=BATCHES, **share)

    model.fit(distribute(strategy, make, SIZE), steps_per_epoch=STEPS, epochs=2, verbose=0)
    return [variable.numpy() for variable in model.trainable_variables]


def test_replicas_train_on_the_batches_of_one_device(dataset, mirrored):
    one = train(tf.distribute.get_strategy(), dataset)
    for replicas in (2, 3):
        for ours, theirs in zip(train(mirrored(replicas), dataset), one, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
