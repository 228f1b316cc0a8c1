"""A model with the four signatures of an export, and servers of it."""

import inspect
import json
import pathlib
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import serving
from tfface.data.alignment import align_image
from tfface.data.images import decode_image
from tfface.export import saved_model

HERE = pathlib.Path(__file__).parent
THRESHOLD = 0.25


@pytest.fixture(scope="session")
def encoder():
    """Encoder from [N, 112, 112, 3] to [N, 16], of random weights."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((112, 112, 3)),
            keras.layers.Conv2D(8, 7, strides=8, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(16),
        ]
    )


@pytest.fixture(scope="session")
def models(encoder, tmp_path_factory):
    """{name: folder}: "faces" has a threshold and versions 1 and 3, "plain" has none."""
    folder = tmp_path_factory.mktemp("models")
    _export(encoder, folder / "faces" / "1", THRESHOLD)
    shutil.copytree(folder / "faces" / "1", folder / "faces" / "3")
    _export(encoder, folder / "plain" / "1", None)
    return {"faces": folder / "faces", "plain": folder / "plain"}


def _export(encoder, path, threshold):
    if "threshold" in inspect.signature(saved_model).parameters:
        saved_model(encoder, path, threshold=threshold)
    else:
        _export_by_hand(encoder, path, threshold)


def _export_by_hand(encoder, path, threshold):
    """The signatures of an export, for a library whose own has not all of them yet."""

    def embed(image):
        # oneDNN's convolution fails for an empty batch.
        padded = tf.concat([image, tf.zeros([1, 112, 112, 3])], axis=0)
        return tf.math.l2_normalize(encoder(padded, training=False), axis=-1)[:-1]

    def decoded(image_bytes):
        return tf.map_fn(lambda data: decode_image(data, 112), image_bytes, fn_output_signature=tf.float32)

    def detect_free_align(image_bytes, landmarks):
        def align(row):
            return tf.cast(align_image(row[0], row[1]), tf.float32) / 127.5 - 1

        return {"embedding": embed(tf.map_fn(align, (image_bytes, landmarks), fn_output_signature=tf.float32))}

    def compare(first_bytes, second_bytes):
        similarity = tf.reduce_sum(embed(decoded(first_bytes)) * embed(decoded(second_bytes)), axis=-1)
        if threshold is None:
            return {"similarity": similarity}
        level = tf.fill(tf.shape(similarity), np.float32(threshold))
        return {"similarity": similarity, "same": similarity >= level, "threshold": level}

    def strings(*names):
        return [tf.TensorSpec([None], tf.string, name) for name in names]

    archive = keras.export.ExportArchive()
    archive.track(encoder)
    archive.add_endpoint(
        "serving_default", lambda image_bytes: {"embedding": embed(decoded(image_bytes))}, strings("image_bytes")
    )
    archive.add_endpoint(
        "aligned", lambda image: {"embedding": embed(image)}, [tf.TensorSpec([None, 112, 112, 3], tf.float32, "image")]
    )
    archive.add_endpoint(
        "detect_free_align",
        detect_free_align,
        [*strings("image_bytes"), tf.TensorSpec([None, 5, 2], tf.float32, "landmarks")],
    )
    archive.add_endpoint("compare", compare, strings("first_bytes", "second_bytes"))
    archive.write_out(str(path), verbose=False)


@pytest.fixture(scope="session", params=["stand-in", "tensorflow_model_server"])
def server(request, models):
    """{"http": address, "grpc": address or None} of a server process: the stand-in or the original."""
    if request.param == "stand-in":
        command = [sys.executable, str(HERE / "stand_in.py"), *(f"{name}={path}" for name, path in models.items())]
    elif shutil.which(request.param):
        ports = {"http": _free_port(), "grpc": _free_port()}
        config = models["faces"].parent / "models.config"
        entries = [f'config {{ name: "{n}" base_path: "{p}" model_platform: "tensorflow" }}' for n, p in models.items()]
        config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
        command = [request.param, f"--port={ports['grpc']}", f"--rest_api_port={ports['http']}"]
        command.append(f"--model_config_file={config}")
    else:
        pytest.skip("tensorflow_model_server is not on PATH")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if request.param == "stand-in":
            ports = json.loads(process.stdout.readline())
        yield {kind: port and f"{kind}://127.0.0.1:{port}" for kind, port in ports.items()}
    finally:
        process.kill()
        process.communicate()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(params=["http", "grpc"])
def address(request, server):
    """Address of the server, for each protocol."""
    if request.param == "grpc":
        pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    return server[request.param]


@pytest.fixture
def connect(address):
    """Function from a model and options to a client; closes it at the end."""
    clients = []

    def connect(model="faces", **options):
        clients.append(serving.connect(address, model, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def pixels():
    """Eleven aligned pictures, uint8 [11, 112, 112, 3]: blocks of colour, unlike each other."""
    blocks = np.random.default_rng(3).integers(0, 256, [11, 7, 7, 3], np.uint8)
    return blocks.repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture(scope="session")
def images(pixels):
    """The same as PNG files."""
    return [tf.io.encode_png(picture).numpy() for picture in pixels]


@pytest.fixture(scope="session")
def vectors(encoder, pixels):
    """Their embeddings by the Keras model in this process, float32 [11, 16]."""
    return embed(encoder, pixels)


def embed(encoder, pixels):
    """Unit embeddings of uint8 [N, 112, 112, 3] by the Keras model."""
    raw = encoder((pixels / np.float32(127.5) - 1).astype(np.float32), training=False).numpy()
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)
