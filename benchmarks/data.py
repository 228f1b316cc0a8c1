"""Measures how fast datasets are read and written, in proportion to what bounds it.

    python benchmarks/data.py                                    # reading, generated faces of 112 x 112
    python benchmarks/data.py --records=records/train            # reading a dataset
    python benchmarks/data.py --convert=10000,100000,1000000     # conversion of so many generated images

Reading compares `train_dataset` as training uses it, with flips and pixels that the model normalises, with other forms
of it, with loops that do nothing but decode the same bytes, and with PyTorch's DataLoader over Pillow where torch is
installed. They take turns, for machines are noisy; the median counts.
Conversion runs in a process for each number, which tells its peak memory, and writes the same number of bytes plainly.
"""

import concurrent.futures
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from absl import flags

from tfface.cli import program

_RECORDS = flags.DEFINE_string("records", None, "Dataset to read. Default: --images generated ones.")
_IMAGES = flags.DEFINE_integer("images", 5000, "Images to generate for reading.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 128, "Images a batch.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each loop.", lower_bound=1)
_CONVERT = flags.DEFINE_list("convert", None, "Numbers of images to convert, instead of reading.")
_ROW = flags.DEFINE_integer("row", None, "Convert so many in this process and print JSON; used by the script itself.")
_DIR = flags.DEFINE_string("dir", None, "Where generated datasets are written, then removed. Default: the system's.")


def main():
    with tempfile.TemporaryDirectory(dir=_DIR.value) as folder:
        if _ROW.value:
            print(json.dumps(measure_conversion(_ROW.value, folder)))
        elif _CONVERT.value:
            compare_conversions(list(map(int, _CONVERT.value)))
        elif _RECORDS.value:
            compare_readers(_RECORDS.value)
        else:
            from tfface.data import convert

            convert(generated(_IMAGES.value), folder, name="generated")
            compare_readers(folder)


def compare_readers(records):
    """Prints a row for each way of reading a dataset."""
    import tensorflow as tf

    from tfface.data import Buffer, parse_example, resolve_shards

    stored = tf.data.TFRecordDataset(resolve_shards(records)).map(lambda one: parse_example(one)["image"])
    images = list(stored.as_numpy_iterator())
    size = tuple(map(int, tf.io.decode_jpeg(images[0]).shape[:2]))
    mean = sum(map(len, images)) / len(images)
    print(f"{len(images)} images of {size[1]} x {size[0]}, {mean:.0f} bytes on average, {os.cpu_count()} processors")
    readers = {
        "train_dataset": tfface_reader(records, size, as_pixels=True),
        "  without flips": tfface_reader(records, size, as_pixels=True, mirror=False),
        "  float32": tfface_reader(records, size),
        "  float32, crop and color": tfface_reader(records, size, augmentations=["crop", "color"]),
        "  Buffer": tfface_reader(records, size, as_pixels=True, shuffle=Buffer()),
        "decode_jpeg, threads": eager_reader(images),
        "decode_jpeg, tf.data": graph_reader(images),
    }
    if find_spec("torch"):
        readers["torch DataLoader, PIL"] = torch_reader(images)
    speeds, costs = ({name: [] for name in readers} for _ in range(2))
    for turn in range(_ROUNDS.value + 1):
        for name, read in readers.items():
            cpu, wall = processor_seconds(), time.perf_counter()
            count = read()
            if turn:  # The first one warms up.
                speeds[name].append(count / (time.perf_counter() - wall))
                costs[name].append((processor_seconds() - cpu) / count * 1e6)
    print(f"{'':27} {'images/s':>9} {'ours / it':>10} {'CPU us':>8} {'it / ours':>10}")
    for name in readers:
        # Ratios within a turn: what else runs on the machine weighs on both.
        faster = statistics.median(a / b for a, b in zip(speeds["train_dataset"], speeds[name], strict=True))
        cheaper = statistics.median(b / a for a, b in zip(costs["train_dataset"], costs[name], strict=True))
        speed, cost = statistics.median(speeds[name]), statistics.median(costs[name])
        # Work of other processes, those of torch, does not appear in the time of this one.
        used = "" if name.startswith("torch") else f" {cost:8.0f} {cheaper:10.2f}"
        print(f"{name:27} {speed:9.0f} {faster:10.2f}{used}")


def tfface_reader(records, size, **options):
    """The pipeline of training, over an epoch."""
    from tfface.data import steps_per_epoch, train_dataset

    steps = steps_per_epoch(records, _BATCH.value)
    batches = train_dataset(records, _BATCH.value, size, **options).take(steps)
    return lambda: sum(len(batch["label"]) for batch in batches)


def eager_reader(images):
    """A loop of `tf.io.decode_jpeg` in each of as many threads as there are processors."""
    import tensorflow as tf

    def decode(part):
        for data in part:
            tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return len(part)

    workers = os.cpu_count()
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    return lambda: sum(pool.map(decode, [images[first::workers] for first in range(workers)]))


def graph_reader(images):
    """`tf.io.decode_jpeg` mapped in parallel over bytes in memory, into batches of uint8."""
    import tensorflow as tf

    pixels = tf.data.Dataset.from_tensor_slices(images).map(
        lambda data: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    batches = pixels.batch(_BATCH.value, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    return lambda: sum(len(batch) for batch in batches)


class PillowImages:
    """Images as PyTorch's datasets have them; at module level, where a worker process finds it."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        import numpy as np
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(self.images[index])).convert("RGB"), np.float32)
        return ((pixels - 127.5) / 127.5).transpose(2, 0, 1)


def torch_reader(images):
    """PyTorch's DataLoader with as many processes as there are processors."""
    from torch.utils.data import DataLoader

    loader = DataLoader(
        PillowImages(images),
        _BATCH.value,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count(),
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    return lambda: sum(len(batch) for batch in loader)


def compare_conversions(counts):
    """Prints a row for each number of images."""
    print(f"{'images':>9} {'GB':>6} {'images/s':>9} {'peak MB':>8} {'plain write':>12} {'share':>6}")
    peaks = []
    for count in counts:
        command = [sys.executable, __file__, f"--row={count}", *([f"--dir={_DIR.value}"] if _DIR.value else [])]
        row = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        peaks.append(row["peak"])
        speed, plain = count / row["seconds"], count / row["plain_seconds"]
        print(
            f"{count:9} {row['bytes'] / 1e9:6.2f} {speed:9.0f} {row['peak'] / 1e6:8.0f} {plain:12.0f}",
            f"{speed / plain:6.2f}",
            flush=True,
        )
    if len(counts) > 1:
        print(f"memory per image: {(peaks[-1] - peaks[0]) / (counts[-1] - counts[0]):.0f} bytes")


def measure_conversion(count, folder):
    """Returns time and peak memory of a conversion, and the time of writing the same number of bytes."""
    import pathlib

    from tfface.data import convert

    source = generated(count)
    start = time.perf_counter()
    convert(source, folder, name="generated")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    total = sum(path.stat().st_size for path in pathlib.Path(folder).glob("*.tfrecord"))
    block = os.urandom(1 << 20)
    start = time.perf_counter()
    with open(os.path.join(folder, "plain"), "wb") as file:
        for _ in range(total >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return {"seconds": seconds, "peak": peak, "bytes": total, "plain_seconds": time.perf_counter() - start}


def generated(count):
    """Makes a source of images, 100 of each identity, whose bytes are those of 512 smooth random pictures."""
    import numpy as np
    from PIL import Image

    from tfface.data import Item, Source

    def picture(seed):
        field = np.random.default_rng(seed).integers(0, 256, (28, 28, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(field).resize((112, 112), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    pictures = list(map(picture, range(512)))

    class Generated(Source):
        def items(self):
            for number in range(count):
                identity = sys.intern(f"{number % max(2, count // 100):07d}")
                yield Item(f"{identity}/{number:08d}.jpg", identity, number)

        def read(self, item):
            return pictures[item.place % len(pictures)]

    return Generated()


def processor_seconds():
    """Processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    program.run(main)
