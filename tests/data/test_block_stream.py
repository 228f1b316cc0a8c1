"""The stream of shuffled blocks: its definition, the laws of a stream, and how little each worker reads."""

import collections
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfface import data
from tfface.data.formats import tfrecord_files
from tfface.data.order.permutations import BLOCKS, RECORDS, permutation
from tfface.data.order.shuffles import BlockOrder, Blocks
from tfface.data.streams import Share, block_shuffled_records
from tfface.distribute.strategies import distribute

IMAGES, BATCH, SIZE = 215, 24, 7
STEPS = IMAGES // BATCH


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, people_in_turn):
    """Dataset of 215 images of 5 people in 4 shards."""
    return people_in_turn(tmp_path_factory.mktemp("blocks") / "toy", IMAGES, people=5, shards=4)


@pytest.fixture
def bytes_read(monkeypatch):
    """Dict from the path of a file to the bytes that were read of it since."""
    counts = collections.Counter()
    opened = tfrecord_files._open

    def counting(path, *arguments):
        file = opened(path, *arguments)

        class Counting:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def read(self, count):
                found = file.read(count)
                counts[str(path)] += len(found)
                return found

            seek, tell = file.seek, file.tell

        return Counting()

    monkeypatch.setattr(tfrecord_files, "_open", counting)
    return counts


def stream(records, steps, *, seed=3, size=SIZE, batch_size=BATCH, **share):
    """[steps * parts] of (positions, serialized records)."""
    share = Share(batch_size, sum(records.counts) // batch_size, **share)
    batches = block_shuffled_records(records, share, seed, Blocks(size))
    return list(batches.take(steps * share.parts).as_numpy_iterator())


def joined(batches):
    return [np.concatenate(columns) for columns in zip(*batches, strict=True)]


def assert_same(left, right):
    for one, other in zip(joined(left), joined(right), strict=True):
        np.testing.assert_array_equal(one, other)


def defined_order(records, batch_size, size, seed, epoch):
    """[steps, batch_size] of the numbers of records, by the sentence that defines `BlockOrder`."""
    sequence = []
    for block in permutation(-(-records // size), seed, BLOCKS, epoch, 0):
        of_block = range(records)[block * size : (block + 1) * size]
        sequence += [of_block[place] for place in permutation(len(of_block), seed, RECORDS, epoch, block)]
    steps = records // batch_size
    return np.array(sequence[: steps * batch_size]).reshape(batch_size, steps).T


@pytest.mark.parametrize(
    ("records", "batch_size", "size"), [(215, 24, 7), (215, 24, 1), (64, 8, 8), (50, 3, 64), (7, 7, 3), (1000, 8, 16)]
)
def test_pieces_are_the_order_of_the_definition_at_any_number_of_workers(records, batch_size, size):
    steps = records // batch_size
    order = BlockOrder(records, batch_size, steps, size, seed=5)
    for epoch in (0, 1, 2**40):
        expected = defined_order(records, batch_size, size, 5, epoch)
        assert len({*expected.ravel()}) == expected.size, "a record came twice"
        for workers in (count for count in (1, 2, 3, 4, 8) if batch_size % count == 0):
            for first_step in {0, 1, steps - 1} & {*range(steps)}:
                found = np.full(expected.shape, -1)
                for worker in range(workers):
                    images = range(worker * batch_size // workers, (worker + 1) * batch_size // workers)
                    pieces = order.pieces(epoch, images, first_step)
                    assert pieces == sorted(pieces) and all(piece.image in images for piece in pieces)
                    for piece in pieces:
                        numbers = order.numbers(epoch, piece)
                        assert (found[piece.step : piece.step + len(numbers), piece.image] == -1).all()
                        found[piece.step : piece.step + len(numbers), piece.image] = numbers
                assert (found[:first_step] == -1).all()
                np.testing.assert_array_equal(found[first_step:], expected[first_step:])


def test_the_order_does_not_change_between_releases():
    assert defined_order(20, 5, 4, 1, 2).tolist() == [
        [6, 11, 18, 1, 15],
        [4, 10, 17, 3, 14],
        [7, 8, 19, 2, 12],
        [5, 9, 16, 0, 13],
    ]


def test_new_neighbours_come_from_anywhere_as_in_a_full_shuffle():
    order = defined_order(60_000, 100, 32, 0, 0).ravel()
    full = permutation(60_000, 0, RECORDS, 9, 9)
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    blocks, expected = (np.quantile(np.abs(np.diff(one)), quantiles) / 60_000 for one in (order, full))
    np.testing.assert_allclose(blocks, expected, atol=0.01)
    # No two images of a batch are from one block, where a full shuffle has some.
    of_batches = np.sort(order.reshape(600, 100) // 32)
    assert (np.diff(of_batches) > 0).all()


def test_every_epoch_has_every_record_once_in_another_order(dataset):
    records = data.open_records(dataset)
    stored = [one for path in records.shards for one in tf.data.TFRecordDataset(path).as_numpy_iterator()]
    batches = stream(records, 3 * STEPS)
    positions, serialized = joined(batches)
    assert positions.tolist() == list(range(3 * STEPS * BATCH))
    epochs = serialized.reshape(3, -1).tolist()
    for number, epoch in enumerate(epochs):
        assert epoch == [stored[place] for place in defined_order(IMAGES, BATCH, SIZE, 3, number).ravel()]
        assert len({*epoch}) == STEPS * BATCH
    assert len({frozenset(epoch) for epoch in epochs}) == 3, "the dropped remainder should differ between epochs"


@pytest.mark.parametrize("start", [1, STEPS - 1, STEPS, STEPS + 3, 10**6])
def test_it_continues_at_any_step_and_reads_nothing_of_the_steps_before(dataset, bytes_read, start):
    records = data.open_records(dataset)
    batch = stream(records, 1, start_step=start)
    epoch, step = divmod(start, STEPS)
    assert batch[0][0].tolist() == list(range(start * BATCH, (start + 1) * BATCH))
    keys = [data.parse_example(one)["key"] for path in records.shards for one in tf.data.TFRecordDataset(path)]
    expected = [keys[number].numpy() for number in defined_order(IMAGES, BATCH, SIZE, 3, epoch)[step]]
    assert data.parse_example(batch[0][1])["key"].numpy().tolist() == expected
    # The pieces that the images of this batch are in, and what is read ahead: none of it lies before this step.
    rest = defined_order(IMAGES, BATCH, SIZE, 3, epoch)[step:]
    assert sum(bytes_read.values()) <= (records.random_access.lengths[rest].astype(int) + 16).sum()


@pytest.mark.parametrize(("workers", "parts"), [(2, 1), (3, 2), (4, 1), (8, 3)])
def test_workers_share_the_batches_of_one_and_read_their_own_bytes(dataset, bytes_read, workers, parts):
    records = data.open_records(dataset)
    whole = stream(records, STEPS)
    bytes_of_one = sum(bytes_read.values())
    assert bytes_of_one == sum(len(one) + 16 for one in joined(whole)[1])
    shares = []
    for worker in range(workers):
        bytes_read.clear()
        shares.append(stream(records, STEPS, num_workers=workers, worker_index=worker, parts=parts))
        own = sum(len(one) + 16 for one in joined(shares[-1])[1])
        assert sum(bytes_read.values()) == own < 1.1 * bytes_of_one / workers
    for step, batch in enumerate(whole):
        assert_same([piece for share in shares for piece in share[step * parts : (step + 1) * parts]], [batch])


def test_records_are_read_in_runs(dataset, monkeypatch):
    runs = []
    read = tfrecord_files._read_bytes
    monkeypatch.setattr(tfrecord_files, "_read_bytes", lambda *run: runs.append(run) or read(*run))
    records = data.open_records(dataset)
    stream(records, STEPS, batch_size=1)
    # One image per batch shows whole blocks: 31 of them, of which 3 lie on the border of two shards.
    assert len(stream(records, 215, batch_size=1, seed=4)) == 215
    assert len(runs) <= 2 * (31 + 3)


def test_it_reads_any_file_system_of_tensorflow(dataset):
    for file in dataset.iterdir():
        tf.io.gfile.copy(str(file), f"ram://toy/{file.name}", overwrite=True)
    records = data.open_records("ram://toy")
    assert not records.lengths_checked, "the index should be read"
    assert_same(stream(records, STEPS), stream(data.open_records(dataset), STEPS))


def test_bad_records_are_named_or_left_out(dataset, tmp_path):
    damaged, clean = tmp_path / "damaged", tmp_path / "clean"
    shutil.copytree(dataset, damaged)
    shard = sorted(damaged.glob("*.tfrecord"))[2]
    content = bytearray(shard.read_bytes())
    found = [(offset, len(one)) for offset, one in tfrecord_files.scan_records(shard)]
    (first, _), (offset, length), (end, _) = found[3:6]
    content[offset + 100] ^= 1
    shard.write_bytes(content)
    message = f"{shard.name}: record 4 at byte {offset}: the data of a record do not match their checksum"
    with pytest.raises(ValueError, match=message), data.naming_bad_records(damaged):
        stream(data.open_records(damaged), STEPS)
    clean.mkdir()
    for file in damaged.glob("*.tfrecord"):
        shutil.copy(file, clean)
    (clean / shard.name).write_bytes(content[:offset] + content[end:])
    good, expected = data.open_records(damaged, skip_bad=True), data.open_records(f"{clean}/*")
    assert sum(good.counts) == IMAGES - 1
    steps = 2 * ((IMAGES - 1) // BATCH)
    assert_same(stream(good, steps), stream(expected, steps))
    share = {"num_workers": 3, "worker_index": 1}
    assert_same(stream(good, 3, **share), stream(expected, 3, **share))


def test_train_dataset_has_the_labels_and_augmentations_of_their_positions(dataset):
    options = {"image_size": (24, 20), "shuffle": Blocks(SIZE), "augmentations": ["crop:0.5"], "seed": 3}
    whole = list(data.train_dataset(dataset, BATCH, **options).take(STEPS + 2).as_numpy_iterator())
    for worker in range(2):
        share = {"num_workers": 2, "worker_index": worker, "start_step": STEPS - 1}
        resumed = data.train_dataset(dataset, BATCH, **options, **share).take(3).as_numpy_iterator()
        for batch, part in zip(whole[STEPS - 1 :], resumed, strict=True):
            half = slice(worker * BATCH // 2, (worker + 1) * BATCH // 2)
            np.testing.assert_array_equal(part["image"], batch["image"][half])
            np.testing.assert_array_equal(part["label"], batch["label"][half])
    serialized = joined(stream(data.open_records(dataset), STEPS + 2))[1]
    labels = data.parse_example(serialized)["label"].numpy()
    np.testing.assert_array_equal(np.concatenate([batch["label"] for batch in whole]), labels)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_block_of_nothing_is_refused(size):
    with pytest.raises(ValueError, match=f"size must be an integer of at least 1, got {size}"):
        Blocks(size)


def test_replicas_get_the_batches_of_one_device(dataset, mirrored):
    options = {"image_size": (24, 20), "shuffle": Blocks(SIZE), "mirror": False}

    def make(num_workers, worker_index, parts):
        share = {"num_workers": num_workers, "worker_index": worker_index, "parts": parts}
        return data.train_dataset(dataset, BATCH, **options, **share)

    strategy = mirrored(3)
    distributed = iter(distribute(strategy, make, BATCH))
    for batch in data.train_dataset(dataset, BATCH, **options).take(3):
        parts = strategy.experimental_local_results(next(distributed)["image"])
        np.testing.assert_array_equal(np.concatenate(parts), batch["image"])
