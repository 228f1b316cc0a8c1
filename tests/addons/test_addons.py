"""Our losses and optimizers against tensorflow-addons, which runs in an environment of its own beside Keras 2.

What it leaves undefined is left out: batches of one identity, where its loss is the margin plus something arbitrary
and ours 0, and for semi-hard triplets batches without a positive pair (its 0/0).
"""

import pathlib
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import losses
from tfface.optimizers.lamb import LAMB
from tfface.optimizers.row_sgd import RowSGD

HERE = pathlib.Path(__file__).parent
# Its "angular" is 1 − cos, our "cosine".
DISTANCES = {"L2": "euclidean", "squared-L2": "squared_euclidean", "angular": "cosine"}


@pytest.fixture(scope="module")
def addons_python(pytestconfig):
    """Python of an environment with tensorflow-addons, made once and kept in pytest's cache."""
    python311 = shutil.which("python3.11")
    if python311 is None or subprocess.run([python311, "--version"], capture_output=True).returncode:
        pytest.skip("needs python3.11, the newest that tensorflow-addons supports")
    requirements = HERE / "requirements.txt"
    folder = pytestconfig.cache.mkdir("tensorflow_addons")
    python, complete = folder / "venv/bin/python", folder / "complete.txt"
    if not complete.exists() or complete.read_text() != requirements.read_text():
        subprocess.run([python311, "-m", "venv", "--clear", folder / "venv"], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
        installed = subprocess.run(install, capture_output=True, text=True)
        if installed.returncode:
            pytest.skip(f"cannot install {requirements.name}: {installed.stderr.strip().splitlines()[-1]}")
        complete.write_text(requirements.read_text())
    return python


def batches():
    """Embeddings with labels, and distances of pairs: unit and other norms; equal, uneven and single class sizes."""
    rng = np.random.default_rng(0)
    labels = {
        "balanced": np.repeat(np.arange(8), 4),
        "uneven": rng.integers(0, 6, 40),
        "two_classes": np.arange(24) % 2,
        "singletons": np.concatenate([np.arange(10), np.arange(5), [0, 0]]),
    }
    arrays = {}
    for name, of_batch in labels.items():
        for norm in ("unit", "any"):
            # Positives are nearer than chance, so that every kind of negative occurs.
            embeddings = (
                rng.normal(size=(len(of_batch), 16)) + 0.5 * rng.normal(size=(of_batch.max() + 1, 16))[of_batch]
            )
            if norm == "unit":
                embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            arrays[f"{name}_{norm}:embeddings"] = embeddings.astype(np.float32)
            arrays[f"{name}_{norm}:labels"] = of_batch.astype(np.int32)
            arrays[f"{name}_{norm}:distances"] = rng.uniform(0, 1.5, len(of_batch)).astype(np.float32)
            arrays[f"{name}_{norm}:genuine"] = rng.integers(0, 2, len(of_batch)).astype(np.int32)
    return arrays


def ours(name, distance, margin, arrays):
    """Value and gradient in the reductions of tensorflow-addons: batch means for triplets, none for pairs."""
    contrastive = name == "contrastive"
    if contrastive:
        layer, inputs, labels = losses.ContrastiveLoss(margin), arrays["distances"], arrays["genuine"]
    else:
        soft = name.endswith("_soft")
        layer = losses.TripletLoss(margin, name.removesuffix("_soft"), DISTANCES[distance], soft)
        inputs, labels = arrays["embeddings"], arrays["labels"]
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = layer(inputs, labels)
        value = value if contrastive else tf.reduce_mean(value)
    return value.numpy(), tape.gradient(value, inputs).numpy()


def optimizer_gradients():
    """Start and ten gradients of a kernel and a bias."""
    rng = np.random.default_rng(1)
    return {"kernel": rng.normal(size=(11, 5, 4)).astype("f4"), "bias": rng.normal(size=(11, 4)).astype("f4")}


@pytest.fixture(scope="module")
def reference(addons_python, tmp_path_factory):
    """Results of tensorflow-addons, as `reference.py` names them."""
    folder = tmp_path_factory.mktemp("addons")
    np.savez(folder / "batches.npz", **batches(), **optimizer_gradients())
    command = [addons_python, HERE / "reference.py", folder / "batches.npz", folder / "reference.npz"]
    subprocess.run(command, check=True)
    with np.load(folder / "reference.npz", allow_pickle=False) as reference:
        return dict(reference)


OPTIMIZERS = {
    "sgdw": lambda: RowSGD(0.1, momentum=0.9, weight_decay=0.05, decay_form="constant"),
    "lamb": lambda: LAMB(0.1, weight_decay=0.05, epsilon=1e-6),
    "lamb_excluded": lambda: LAMB(0.1, weight_decay=0.05, epsilon=1e-6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_move_as_those_of_tensorflow_addons(name, reference):
    optimizer, gradients = OPTIMIZERS[name](), optimizer_gradients()
    variables = {key: keras.Variable(values[0], name=key) for key, values in gradients.items()}
    if name == "lamb_excluded":
        optimizer.exclude_from_weight_decay([variables["bias"]])
    for step in range(10):
        optimizer.apply([tf.constant(values[step + 1]) for values in gradients.values()], list(variables.values()))
        for key, variable in variables.items():
            expected = reference[f"optimizer:{name}:{key}"][step]
            np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-5, err_msg=f"{key} {step}")


@pytest.mark.slow
def test_values_and_gradients_equal_those_of_tensorflow_addons(reference):
    arrays = batches()
    reference = {key: array for key, array in reference.items() if not key.startswith("optimizer:")}
    cases = sorted({key.rpartition(":")[0] for key in reference})
    assert len(cases) == 8 * (3 * 3 + 1) * 2  # batches · (triplet losses · distances + contrastive) · margins
    for case in cases:
        batch, name, distance, margin = case.split(":")
        of_batch = {key.split(":")[1]: array for key, array in arrays.items() if key.startswith(f"{batch}:")}
        value, gradient = ours(name, distance, float(margin), of_batch)
        assert np.any(gradient), case
        for quantity, got in (("value", value), ("gradient", gradient)):
            expected = reference[f"{case}:{quantity}"]
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=f"{case}:{quantity}")
