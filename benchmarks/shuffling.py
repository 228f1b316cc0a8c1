"""Measures how well the orders of training records are shuffled, and how soon a resumed stream has its first batch.

    python benchmarks/shuffling.py                    # order: distances between neighbours
    python benchmarks/shuffling.py --first_batch      # time to the first batch at step 10**6 of 10**7 records

Orders are compared by two distances, in percent of the number of records: how far apart in the files two records are
that follow each other in the stream, and how far apart in the stream two are that follow each other in the files. The
dataset of --first_batch is one shard of --shard_images generated images under 1,000 names.
"""

import io
import json
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np
from absl import flags

from tfface.cli import program

_RECORDS = flags.DEFINE_integer("records", 1_000_000, "Records to order.", lower_bound=1000)
_SHARDS = flags.DEFINE_integer("shards", 70, "Shards that hold them.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 512, "Images a batch.", lower_bound=1)
_FIRST = flags.DEFINE_bool("first_batch", False, "Measure the time to the first batch instead.")
_IMAGES = flags.DEFINE_integer("shard_images", 10_000, "Images in the shard of --first_batch.", lower_bound=1)
_DIR = flags.DEFINE_string("dir", None, "Where the shard is written, then removed. Default: the system's.")


def main():
    if _FIRST.value:
        with tempfile.TemporaryDirectory(dir=_DIR.value) as folder:
            measure_first_batch(pathlib.Path(folder))
        return
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = {
        "full shuffle": np.random.default_rng(0).permutation(_RECORDS.value),
        "Buffer(size=10000)": buffer_order(10_000),
        **{f"Blocks(size={size})": block_order(size) for size in (16, 64, 256)},
    }
    print(f"{'':20} {'apart in the files, %':^40} {'apart in the stream, %':^40}")
    print(f"{'quantile':20} " + " ".join(f"{quantile:7.0%}" for quantile in quantiles * 2))
    for name, order in rows.items():
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        found = [np.quantile(np.abs(np.diff(each)), quantiles) * 100 / len(order) for each in (order, places)]
        print(f"{name:20} " + " ".join(f"{value:7.3f}" for value in np.concatenate(found)))


def block_order(size):
    """The records of an epoch of `Blocks`, in the order of the stream."""
    from tfface.data.order.shuffles import BlockOrder

    batch_size, steps = _BATCH.value, _RECORDS.value // _BATCH.value
    order = BlockOrder(_RECORDS.value, batch_size, steps, size, seed=0)
    found = np.empty((steps, batch_size), np.int64)
    for piece in order.pieces(0, range(batch_size)):
        found[piece.step : piece.step + piece.stop - piece.start, piece.image] = order.numbers(0, piece)
    # The records that do not fill a batch come last here; a stream leaves them out.
    rest = np.setdiff1d(np.arange(_RECORDS.value), found)
    return np.concatenate([found.ravel(), rest])


def buffer_order(size):
    """The records of an epoch of `Buffer`: 16 of the shuffled shards in turn, then a buffer of which one is drawn."""
    random = np.random.default_rng(0)
    bounds = np.linspace(0, _RECORDS.value, _SHARDS.value + 1).astype(int)
    waiting = [iter(range(bounds[shard], bounds[shard + 1])) for shard in random.permutation(_SHARDS.value)]
    opened, read = waiting[:16], []
    waiting = waiting[16:]
    while opened:
        for place, shard in enumerate(opened):
            if (record := next(shard, None)) is not None:
                read.append(record)
            else:
                opened[place] = waiting.pop(0) if waiting else None
        opened = [shard for shard in opened if shard is not None]
    chosen = random.integers(0, size, len(read))
    held, order = read[:size], []
    for record, place in zip(read[size:], chosen, strict=False):
        order.append(held[place])
        held[place] = record
    return np.array([*order, *random.permutation(held)])


def measure_first_batch(folder):
    """Prints the seconds to the first batch of a new process' stream at step 0 and at step 10**6."""
    from tfface.data import convert, open_records, train_dataset
    from tfface.data.identity_index import group_by_identity
    from tfface.data.index_file import INDEX_FILE
    from tfface.data.order.shuffles import Blocks

    copies = 1000
    convert(generated(), folder / "one", name="one", num_shards=1)
    many = folder / "many"
    many.mkdir()
    info = json.loads((folder / "one" / "dataset.json").read_text())
    (shard,) = info["shards"]
    names = [f"many-{number:05d}-of-{copies:05d}.tfrecord" for number in range(copies)]
    for name in names:
        os.symlink(folder / "one" / shard["file"], many / name)
    info |= {"name": "many", "images": copies * info["images"], "shards": [{**shard, "file": name} for name in names]}
    (many / "dataset.json").write_text(json.dumps(info))
    with np.load(folder / "one" / INDEX_FILE) as one:
        np.savez(many / INDEX_FILE, **{key: np.tile(array, copies) for key, array in one.items()})
    for step in (0, 10**6):
        clocks = [time.perf_counter, time.process_time]  # Others may use the processors too.
        start = [clock() for clock in clocks]
        records = open_records(many)
        opened = [clock() for clock in clocks]
        batches = train_dataset(records, _BATCH.value, shuffle=Blocks(), start_step=step)
        next(iter(batches))
        seconds = [f"{b - a:.2f} + {clock() - b:.2f} s" for a, b, clock in zip(start, opened, clocks, strict=True)]
        print(f"step {step}: {seconds[0]} to open and to the first batch, {seconds[1]} of processor time")
    index = records.random_access
    start = time.perf_counter()
    numbers, _ = group_by_identity(records)
    used = [array.nbytes / len(index) for array in (index.places, index.lengths, numbers)]
    print(f"{len(index)} records; bytes each: {used[0]:g} place, {used[1]:g} length, {used[2]:g} for PK")
    print(f"{time.perf_counter() - start:.2f} s to group them by identity")
    shutil.rmtree(many)


def generated():
    """Makes a source of --shard_images times the same smooth picture, of 100 people."""
    from PIL import Image

    from tfface.data import Item, Source

    field = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(field).resize((112, 112), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)

    class Generated(Source):
        def items(self):
            return [Item(f"{n % 100:03d}/{n:06d}.jpg", f"{n % 100:03d}") for n in range(_IMAGES.value)]

        def read(self, item):
            return buffer.getvalue()

    return Generated()


if __name__ == "__main__":
    program.run(main)
