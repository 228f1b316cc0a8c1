"""On a GPU: numbers of the CPU, training as users run it, and what moves between the two. Without one, all is skipped.

python -m pytest -m gpu tests/gpu

TFFACE_GPU_TESTS_ON=CPU:1 puts a part of the CPU in the place of the GPU. That tries out the tests; it shows nothing of
GPUs.
"""

import csv
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from components import HEADS
from programs import start

import tfface
from tfface import data, export, heads
from tfface.classifier.samplers.uniform import UniformSampler
from tfface.data.synthetic import rendering
from tfface.optimizers.row_sgd import RowSGD
from tfface.training.checkpoints.saving import Checkpoints

DEVICE = os.environ.get("TFFACE_GPU_TESTS_ON", "GPU:0")
KIND = DEVICE.split(":")[0]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not tf.config.list_physical_devices(KIND), reason="TensorFlow sees no GPU"),
]

CLASSES, DIM, BATCH = 300, 64, 32
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(BATCH, DIM)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, BATCH)
WEIGHTS = RNG.normal(size=(CLASSES, DIM)).astype(np.float32)
IMAGES = RNG.uniform(-1, 1, (BATCH, 56, 56, 3)).astype(np.float32)

# Without chance, whose numbers a GPU draws otherwise.
EXACT = sorted({*HEADS} - {"DSoftmaxB", "DSoftmaxK", "RandArcFace", "RandSoftmax"})


@pytest.fixture(autouse=True)
def exact_products(monkeypatch):
    """TensorFloat-32, the default of newer cards, has 10 bits of mantissa."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


def losses_and_gradients(name, device, **options):
    with tf.device(device):
        head = getattr(heads, name)(CLASSES, **options)
        head.build((None, DIM))
        head.set_class_weights(np.repeat(WEIGHTS, head.class_weights.shape[0] // CLASSES, axis=0))
        x = tf.constant(EMBEDDINGS)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                tape.watch(x)
                losses = head(x, tf.constant(LABELS), training=True)
            sources = [x, head.class_weights.value]
            return losses, *map(tf.convert_to_tensor, tape.gradient(losses, sources))

        return [value.numpy() for value in step()]


@pytest.mark.parametrize("options", [{}, {"chunk_size": 64}, {"jit_compile": True}], ids=["whole", "chunks", "xla"])
@pytest.mark.parametrize("name", EXACT)
def test_heads_and_gradients_are_those_of_the_cpu(name, options):
    for ours, theirs in zip(
        losses_and_gradients(name, DEVICE, **options), losses_and_gradients(name, "CPU:0", **options), strict=True
    ):
        scale = max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours / scale, theirs / scale, **CLOSE)


# Training


def face_model(head=None, policy="float32", strategy=None):
    keras.utils.set_random_seed(1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    with (strategy or tf.distribute.get_strategy()).scope():
        encoder = tfface.backbones.MobileFaceNet(DIM, 56, width=0.25)
        keras.config.set_dtype_policy(before)
        model = tfface.FaceModel(encoder, (head or (lambda: heads.ArcFace(CLASSES, scale=16.0)))())
        model.compile(optimizer=RowSGD(0.01, momentum=0.9, weight_decay=5e-4))
    return model


def curve(model, epochs=8):
    return model.fit(IMAGES, LABELS, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_loss_falls_in_every_precision(policy):
    losses = curve(face_model(policy=policy), epochs=30)
    assert np.all(np.isfinite(losses)) and losses[-1] < 0.8 * losses[0]


def test_the_first_steps_are_those_of_the_cpu():
    with tf.device("CPU:0"):
        expected = curve(face_model(), epochs=3)
    np.testing.assert_allclose(curve(face_model(), epochs=3), expected, rtol=1e-3)


@pytest.mark.parametrize("partition", [None, "host"])
def test_sampled_rows_and_host_tables(partition):
    def head():
        return heads.ArcFace(CLASSES, scale=16.0, sampler=UniformSampler(0.3), partition=partition)

    model = face_model(head)
    before = model.head.get_class_weights()
    losses = curve(model, epochs=1)
    moved = np.any(model.head.get_class_weights() != before, axis=1)
    # Decay moves sampled rows: a third of the classes, and those of the batch.
    assert np.isfinite(losses[0]) and 0.3 <= moved.mean() < 0.5
    assert np.all(moved[LABELS])
    if partition == "host":
        assert all("CPU" in shard.device for _, shard in model.head.class_weights.shards())


def test_a_checkpoint_moves_from_cpu_to_gpu_and_back(tmp_path):
    def made(device):
        with tf.device(device):
            model = face_model()
            model.optimizer.build(model.trainable_variables)
        return model, Checkpoints(tmp_path, model)

    def values(model):
        return [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]

    first, of_first = made("CPU:0")
    curve(first, epochs=3)
    of_first.save(3)
    second, of_second = made(DEVICE)
    assert of_second.restore() == 3
    for ours, theirs in zip(values(second), values(first), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(curve(second, epochs=2), curve(first, epochs=2), rtol=1e-3)
    of_second.save(5)
    third, of_third = made("CPU:0")
    assert of_third.restore() == 5
    for ours, theirs in zip(values(third), values(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_moves_from_cpu_to_gpu_and_back(tmp_path):
    model = face_model()
    curve(model)
    model.save(tmp_path / "gpu.keras")
    with tf.device("CPU:0"):
        on_cpu = keras.models.load_model(tmp_path / "gpu.keras")
        np.testing.assert_allclose(on_cpu.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), **CLOSE)
        curve(on_cpu)
        on_cpu.save(tmp_path / "cpu.keras")
    again = keras.models.load_model(tmp_path / "cpu.keras")
    for ours, theirs in zip(again.variables, on_cpu.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert np.all(np.isfinite(curve(again)))


def test_an_export_embeds_as_the_network(tmp_path):
    model = face_model()
    curve(model)
    export.saved_model(model.encoder, tmp_path / "1")
    expected = export.encoder_embedder(model.encoder)(IMAGES)
    for device in (DEVICE, "CPU:0"):
        with tf.device(device):
            np.testing.assert_allclose(export.load_embedder(tmp_path / "1")(IMAGES), expected, **CLOSE)


def test_labels_out_of_range_are_found():
    """Whether XLA compiles the step or not."""
    model = face_model()
    for jit_compile in (True, False):
        model.compile(optimizer="sgd", jit_compile=jit_compile)
        for use in (model.fit, model.train_on_batch):
            with pytest.raises(ValueError, match=r"labels must be in \[0, 300\)"):
                use(IMAGES, np.full(BATCH, CLASSES))


# As a user runs it, in processes: determinism stays on once it is on, and a GPU is divided before its first use

QUICKSTART = """
--train_data={folder}/records
--image_size=56
--backbone=MobileFaceNet(width=0.25)
--embedding_dim=64
--head=ArcFace(scale=16, margin=0.2)
--batch_size=32
--steps=40
--log_every=1
--save_every=20
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    rendering.write_folder(str(folder / "faces"), 60, 8, 56, 0, os.cpu_count(), lambda _: None)
    data.convert_folder(str(folder / "faces"), folder / "records", name="faces")
    (folder / "flags").write_text(QUICKSTART.format(folder=folder))
    return folder


def train(folder, name, *arguments):
    process = start(
        "scripts/train.py", f"--flagfile={folder / 'flags'}", f"--run_dir={folder / name}", *arguments, fresh=True
    )
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    with (folder / name / "log.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("partition", ["none", "replicas"])
def test_a_deterministic_run_is_the_same_twice(precision, partition, folder):
    strategy = ["--strategy=mirrored", "--replicas=1", "--partition=replicas"] if partition == "replicas" else []
    names = [f"{precision}_{partition}_{number}" for number in range(2)]
    one, other = (train(folder, name, f"--precision={precision}", *strategy) for name in names)
    assert one == other and len(one) == 40
    assert np.mean(np.float32(one[-5:])) < np.mean(np.float32(one[:5]))


# Two replicas on halves of one GPU: their collective operations are TensorFlow's own, because NCCL wants two cards.
TWO_REPLICAS = """
import sys

import numpy as np
import tensorflow as tf

kind = sys.argv[1]
half = tf.config.LogicalDeviceConfiguration(memory_limit=2048 if kind == "GPU" else None)
tf.config.set_logical_device_configuration(tf.config.list_physical_devices(kind)[0], [half, half])
tf.config.experimental.enable_tensor_float_32_execution(False)
import keras
import tfface

rng = np.random.default_rng(0)
images = rng.uniform(-1, 1, (32, 56, 56, 3)).astype(np.float32)
labels = rng.integers(0, 300, 32)


def curve(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        encoder = tfface.backbones.MobileFaceNet(64, 56, width=0.25)
        tfface.backbones.synchronize_batch_norm(encoder)
        model = tfface.FaceModel(encoder, tfface.heads.ArcFace(300, scale=16.0, partition="replicas"))
        model.compile(optimizer=keras.optimizers.SGD(0.001, momentum=0.9))
    return model.fit(images, labels, batch_size=32, epochs=3, shuffle=False, verbose=0).history["loss"]


operations = tf.distribute.ReductionToOneDevice()
two = curve(tf.distribute.MirroredStrategy([f"{kind}:0", f"{kind}:1"], cross_device_ops=operations))
with tf.device("CPU:0"):
    one = curve(tf.distribute.get_strategy())
np.testing.assert_allclose(two, one, rtol=1e-3)
"""


def test_two_virtual_gpus_train_as_one_device():
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS, KIND], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
