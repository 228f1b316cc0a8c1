"""A model on servers, its images, and their expected embeddings."""

import json
import pathlib
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import served_model
import stand_in
import tensorflow as tf
from scripted import Scripted

from tfface import serving
from tfface.export import saved_model

HERE = pathlib.Path(__file__).parent


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
    saved_model(encoder, folder / "faces" / "1", threshold=served_model.THRESHOLD)
    shutil.copytree(folder / "faces" / "1", folder / "faces" / "3")
    saved_model(encoder, folder / "plain" / "1")
    return {"faces": folder / "faces", "plain": folder / "plain"}


@pytest.fixture(scope="session", params=["stand-in", "tensorflow_model_server"])
def server(request, models):
    """{"http": address, "grpc": address or None} of a server process: the stand-in or the original."""
    if request.param == "stand-in":
        command = [sys.executable, str(HERE / "stand_in.py"), *(f"{name}={path}" for name, path in models.items())]
    elif shutil.which(request.param):
        ports = {"http": _free_port(), "grpc": _free_port()}
        config = models["faces"].parent / "models.config"
        policy = 'model_platform: "tensorflow" model_version_policy { all {} }'
        entries = [f'config {{ name: "{name}" base_path: "{path}" {policy} }}' for name, path in models.items()]
        config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
        command = [request.param, f"--port={ports['grpc']}", f"--rest_api_port={ports['http']}"]
        command.append(f"--model_config_file={config}")
    else:
        pytest.skip("tensorflow_model_server is not on PATH")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if request.param == "stand-in":
            ports = json.loads(process.stdout.readline())
        addresses = {kind: port and f"{kind}://127.0.0.1:{port}" for kind, port in ports.items()}
        for name in models:
            serving.connect(addresses["http"], name).wait_until_ready(120)
        yield addresses
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
    """The same pictures as PNG files."""
    return [tf.io.encode_png(picture).numpy() for picture in pixels]


@pytest.fixture(scope="session")
def vectors(encoder, pixels):
    """Embeddings of the pictures by the Keras model in this process, float32 [11, 16]."""
    return served_model.embed(encoder, pixels)


@pytest.fixture
def model():
    """The model of servers that answer as a test tells them."""
    return Scripted()


@pytest.fixture
def rest(model):
    """Function from a handler of requests to the address of a REST server."""
    servers = []

    def start(handler=stand_in.RestHandler):
        server, port = stand_in.start_rest(model, handler)
        servers.append(server)
        return f"http://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def grpc_address(model):
    """Address of a gRPC server of the scripted model."""
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    server, port = stand_in.start_grpc(model)
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(params=["http", "grpc"])
def scripted_address(request, rest):
    """Address of a server of the scripted model, for each protocol."""
    return rest() if request.param == "http" else request.getfixturevalue("grpc_address")
