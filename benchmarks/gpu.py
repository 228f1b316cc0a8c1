"""Measures training on one GPU: networks, heads, memory, and the share of a step that is spent outside of kernels.

    python benchmarks/gpu.py                     # a quarter of an hour on a GPU
    python benchmarks/gpu.py --only=head         # rows whose name contains it
    python benchmarks/gpu.py --small             # everything in a small size, for a CPU

Rows are processes of their own, one after another; a row that fails says so and does not end the others. With --small,
all run in one process.

network: images per second of training steps of a backbone with ArcFace of 10,000 classes at 112 pixels, with images in
    memory, and with records (generated JPEG files, or --train_records), whose difference is what the input pipeline
    costs.
head: milliseconds of a step of a head, B = 128, d = 512: loss, gradients, momentum. Beside it the three matrix products
    that any such step needs, and the same head written plainly in PyTorch, where torch is installed and sees the card.
largest: the largest number of classes whose step fits into memory, all of them in the loss or a tenth sampled.
kernels: the share of a step during which no kernel runs, by TensorFlow's profiler.
determinism: images per second with op determinism, which `tfface train` turns on by default.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from absl import flags

from tfface.cli import program

_ONLY = flags.DEFINE_string("only", "", "Rows whose name contains this.")
_SMALL = flags.DEFINE_bool("small", False, "Small sizes, with which a CPU needs a minute.")
_RECORDS = flags.DEFINE_string("train_records", None, "Dataset of the rows with records. Default: generated images.")
_STEPS = flags.DEFINE_integer("steps", 20, "Steps measured, after three that are not.", lower_bound=1)
_MEASURE = flags.DEFINE_string("measure", None, "Measure this row in this process; used by the script itself.")
_TIMEOUT = flags.DEFINE_integer("timeout", 300, "Seconds for one row.", lower_bound=1)

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
BATCH, DIM = 128, 512


def rows():
    """Names of all rows, the most informative first."""
    networks = ["MobileFaceNet"] if _SMALL.value else ["IResNet50", "MobileFaceNet", "IResNet100"]
    classes = [1000] if _SMALL.value else [100_000, 1_000_000]
    yield from (f"network {network} {precision} memory" for network in networks for precision in POLICIES)
    yield from (f"network {network} float32 records" for network in networks)
    yield from (f"head {head} {count}" for count in classes for head in ("ArcFace", "RandArcFace"))
    yield from (f"head torch {count}" for count in classes)
    yield from (f"kernels {network} {precision}" for network in networks[:2] for precision in ("float32", "bfloat16"))
    yield from (f"determinism {network} float32" for network in networks[:2])
    yield from (f"largest {head}" for head in ("ArcFace", "RandArcFace"))


def main():
    if _MEASURE.value:
        print(in_this_process(_MEASURE.value))
        return
    print(describe_device(), flush=True)
    for name in rows():
        if _ONLY.value not in name:
            continue
        print(f"{name:36} {in_this_process(name) if _SMALL.value else in_another_process(name)}", flush=True)


def in_this_process(name):
    """Returns the results of a row as text."""
    kind, *arguments = name.split()
    measured = KINDS[kind](*arguments)
    return ", ".join(f"{key} {value:.4g}" for key, value in measured.items()) or "not measured here"


def in_another_process(name):
    """The same, or how the row failed."""
    command = [sys.executable, *sys.argv, f"--measure={name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT.value, check=False)
    except subprocess.TimeoutExpired:
        return f"not finished after {_TIMEOUT.value} s"
    told = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return f"{'failed: ' if done.returncode else ''}{told[-1] if told else 'no message'}"


def describe_device():
    """Versions, and the name of the card."""
    code = (
        "import tensorflow as tf, keras; gpus = tf.config.list_physical_devices('GPU');"
        "names = [tf.config.experimental.get_device_details(gpu).get('device_name') for gpu in gpus] or 'CPU';"
        "print(f'TensorFlow {tf.__version__}, Keras {keras.__version__}, {names}')"
    )
    # In a process of its own, because whoever asks for a GPU keeps its memory.
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "TensorFlow does not start."


# Networks


def network(name, precision, source):
    """Images per second of training steps."""
    batch = 16 if _SMALL.value else BATCH
    model = face_model(name, precision)
    with tempfile.TemporaryDirectory() as folder:
        data = images_in_memory(batch) if source == "memory" else images_in_records(batch, folder)
        return {"images/s": batch / median_step(stepper(model, data))}


def determinism(name, precision):
    """The same with op determinism."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    return network(name, precision, "memory")


def face_model(name, precision):
    import keras

    import tfface
    from tfface.optimizers.row_sgd import RowSGD

    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    encoder = getattr(tfface.backbones, name)(DIM, image_size())
    keras.config.set_dtype_policy(before)
    model = tfface.FaceModel(encoder, tfface.heads.ArcFace(10_000))
    model.compile(optimizer=RowSGD(0.1, momentum=0.9, weight_decay=5e-4), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def image_size():
    return 56 if _SMALL.value else 112


def images_in_memory(batch):
    import tensorflow as tf

    images = tf.random.stateless_uniform([batch, image_size(), image_size(), 3], [0, 0], -1.0, 1.0)
    labels = tf.random.stateless_uniform([batch], [0, 1], 0, 10_000, tf.int64)
    return tf.data.Dataset.from_tensors({"image": images, "label": labels}).cache().repeat()


def images_in_records(batch, folder):
    from tfface import data

    records = _RECORDS.value
    if records is None:
        # The neighbour in this folder, whose flags are of no use here.
        from data import generated

        records = folder
        data.convert(generated(256 if _SMALL.value else 8192), folder, name="generated")
    return data.train_dataset(records, batch_size=batch, image_size=image_size())


def stepper(model, dataset):
    """Returns a function that makes a training step and waits for its loss."""
    import tensorflow as tf

    function = tf.function(model.train_step)
    batches = iter(dataset.prefetch(tf.data.AUTOTUNE))
    return lambda: float(function(next(batches))["loss"])


def median_step(step):
    """Seconds of the median step, after three that trace, allocate and warm up."""
    seconds = []
    for _ in range(3 + _STEPS.value):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


# Heads


def head(name, classes):
    """Milliseconds of a step of a head and of the three matrix products."""
    import tensorflow as tf

    if name == "torch":
        return torch_head(int(classes))
    step, weights = head_step(name, int(classes))
    x, by_products = tf.random.normal([BATCH, DIM]), tf.random.normal([BATCH, int(classes)])

    @tf.function
    def products():
        outputs = tf.matmul(x, weights, transpose_b=True)
        by_x = tf.matmul(by_products, weights)
        by_weights = tf.matmul(by_products, x, transpose_a=True)
        return outputs[0, 0] + by_x[0, 0] + by_weights[0, 0]

    ours, floor = median_step(lambda: float(step())), median_step(lambda: float(products()))
    return {"ms": 1e3 * ours, "ms of three products": 1e3 * floor, "ratio": ours / floor, **memory()}


def head_step(name, classes):
    """Returns a step of a head as a function to its loss, and its class weights."""
    import tensorflow as tf

    from tfface import heads
    from tfface.optimizers.row_sgd import RowSGD

    options = {"sampling_rate": 0.1} if name == "RandArcFace" else {}
    layer = getattr(heads, name)(classes, class_weights_initializer="ones", **options)
    layer.build((None, DIM))
    optimizer = RowSGD(0.1, momentum=0.9)
    optimizer.build(layer.trainable_variables)
    x = tf.random.stateless_normal([BATCH, DIM], [0, 0])
    labels = tf.random.stateless_uniform([BATCH], [0, 1], 0, classes, tf.int64)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(layer(x, labels, training=True))
        by_x, *gradients = tape.gradient(loss, [x, *(each.value for each in layer.trainable_variables)])
        optimizer.apply(gradients, layer.trainable_variables)
        return loss + 0.0 * by_x[0, 0]

    return step, layer.class_weights.value


def torch_head(classes):
    """Milliseconds of the same step of ArcFace, written plainly in PyTorch."""
    if find_spec("torch") is None:
        return {}
    import torch

    if not (_SMALL.value or torch.cuda.is_available()):
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = torch.ones(classes, DIM, device=device, requires_grad=True)
    x = torch.randn(BATCH, DIM, device=device, requires_grad=True)
    labels = torch.randint(0, classes, (BATCH,), device=device)
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        cosines = torch.nn.functional.linear(
            torch.nn.functional.normalize(x), torch.nn.functional.normalize(weights)
        ).clamp(-1 + 1e-7, 1 - 1e-7)
        target = cosines.gather(1, labels[:, None])
        with_margin = torch.cos(torch.acos(target) + 0.5)
        loss = torch.nn.functional.cross_entropy(64 * cosines.scatter(1, labels[:, None], with_margin), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"ms": 1e3 * median_step(step)}


def memory():
    """The largest memory that TensorFlow has used on the card so far, in GB."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return {}
    return {"GB": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9}


# Memory


def largest(name):
    """The largest number of classes whose step runs, to a tenth; each is tried in a process of its own."""
    fits, fails = 0, 64_000 if _SMALL.value else None
    classes = 16_000 if _SMALL.value else 1_000_000
    while fails is None or fails > 1.1 * max(fits, 1):
        command = [sys.executable, *[word for word in sys.argv if not word.startswith("--measure=")]]
        done = subprocess.run([*command, f"--measure=fits {name} {classes}"], capture_output=True, check=False)
        if done.returncode:
            fails = classes
        else:
            fits = classes
        if fails is not None and fails <= 1000:
            break
        classes = 2 * classes if fails is None else (fits + fails) // 2
        if _SMALL.value and fits:
            break
    return {"classes": fits}


def fits(name, classes):
    """Runs two steps with so many classes."""
    step, _ = head_step(name, int(classes))
    step(), step()
    return {"classes": int(classes)}


# Kernels


def kernels(name, precision):
    """The share of a step during which no kernel runs."""
    import steps

    batch = 16 if _SMALL.value else BATCH
    step = stepper(face_model(name, precision), images_in_memory(batch))
    for _ in range(3):
        step()
    seconds, space = steps.traced(step, _STEPS.value)
    busy = busy_seconds(space)
    return {"ms of a step": 1e3 * seconds / _STEPS.value, "share outside of kernels": 1 - busy / seconds}


def busy_seconds(space):
    """Seconds during which at least one kernel ran, in a trace of the profiler; on a CPU, operations count."""
    intervals = []
    planes = [plane for plane in space.planes if plane.name.startswith("/device:GPU")]
    for plane in planes or [plane for plane in space.planes if plane.name == "/host:CPU"]:
        for line in plane.lines:
            # The streams of a GPU; on a CPU, the threads that compute.
            if planes and "Stream" not in line.name or not planes and "tf_" not in line.name:
                continue
            start = 1000 * line.timestamp_ns
            intervals += [
                (start + event.offset_ps, start + event.offset_ps + event.duration_ps) for event in line.events
            ]
    busy, end = 0, 0
    for first, last in sorted(intervals):
        busy += max(0, last - max(first, end))
        end = max(end, last)
    return busy / 1e12


KINDS = {each.__name__: each for each in (network, determinism, head, largest, fits, kernels)}


if __name__ == "__main__":
    program.run(main)
