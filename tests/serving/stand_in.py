"""A stand-in for the parts of TensorFlow Serving that tests of `tfface.serving` need, in a process of its own.

It is not TensorFlow Serving. It loads SavedModels with TensorFlow's v1 loader and speaks both protocols by their
documentation: gRPC with the official stubs, REST with JSON in rows or columns, errors as {"error": ...} under the HTTP
status of their code. Like the original it escapes error messages as C does, which JSON parsers need not accept.

    python stand_in.py NAME=FOLDER ...

serves the numbered versions below each folder, writes {"http": port, "grpc": port or null} to stdout, and ends with its
stdin. Without the stubs it speaks REST only.
"""

import base64
import concurrent.futures
import http.server
import json
import pathlib
import re
import sys
import threading

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

HTTP_STATUS = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503}
PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata)?")


class Failure(Exception):
    """An error with the name of its status code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Loaded:
    """One version of a model."""

    def __init__(self, folder):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.loader.load(self.session, ["serve"], str(folder))
        self.signatures = dict(meta_graph.signature_def)

    def run(self, signature, inputs, names=None):
        """Feeds {input: array} and returns {output: array} for the names, or for all."""
        infos = self.signatures[signature]
        feeds = {infos.inputs[name].name: inputs[name] for name in infos.inputs}
        fetches = {name: infos.outputs[name].name for name in names or infos.outputs}
        try:
            return self.session.run(fetches, feeds)
        except tf.errors.OpError as error:
            name = type(error).__name__.removesuffix("Error")  # InvalidArgument is INVALID_ARGUMENT.
            code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
            # Python adds the first line to the message of C++.
            raise Failure(code, error.message.removeprefix("Graph execution error:").lstrip()) from None
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", str(error)) from None


class Models:
    """The models of the server."""

    def __init__(self, folders):
        self.versions = {
            name: {int(path.name): Loaded(path) for path in pathlib.Path(folder).iterdir() if path.name.isdigit()}
            for name, folder in folders.items()
        }

    def find(self, name, version):
        """Returns (version, `Loaded`); the newest version where it is None."""
        versions = self.versions.get(name, {})
        if not versions or (version is not None and version not in versions):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Failure("NOT_FOUND", f"Servable not found for request: {wanted}")
        version = max(versions) if version is None else version
        return version, versions[version]

    def status(self, name, version):
        """Returns {version: state}."""
        if version is None and name not in self.versions:
            raise Failure("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None:
            self.find(name, version)
        return {number: "AVAILABLE" for number in self.versions[name] if version in (None, number)}


class RestHandler(http.server.BaseHTTPRequestHandler):
    """Answers requests of the REST API."""

    models = None

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        hear(self.models, self.headers.items())
        try:
            match = PATH.fullmatch(self.path)
            if not match or (match[3] == ":predict") != (body is not None):
                raise Failure("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
            name, version = match[1], int(match[2]) if match[2] else None
            if body is not None:
                answer = self.predict(name, version, json.loads(body))
            elif match[3]:
                answer = metadata_json(name, *self.models.find(name, version))
            else:
                states = self.models.status(name, version).items()
                answer = {"model_version_status": [{"version": str(key), "state": state} for key, state in states]}
            status, text = 200, json.dumps(answer, indent=4)
        except Failure as error:
            status = HTTP_STATUS.get(error.code, 500)
            text = f'{{ "error": "{escaped(str(error))}" }}'
        self.respond(status, text.encode())

    def respond(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def predict(self, name, version, request):
        _, model = self.models.find(name, version)
        signature = request.get("signature_name", "serving_default")
        if signature not in model.signatures:
            raise Failure("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
        infos = model.signatures[signature].inputs
        if "instances" in request:
            rows = request["instances"]
            if len(infos) == 1 and not (isinstance(rows[0], dict) and rows[0].keys() != {"b64"}):
                rows = [{next(iter(infos)): row} for row in rows]
            columns = {key: [row[key] for row in rows] for key in infos}
        else:
            columns = request["inputs"]
            if not isinstance(columns, dict):
                columns = {next(iter(infos)): columns}
        inputs = {}
        for key, info in infos.items():
            if key not in columns:
                raise Failure("INVALID_ARGUMENT", f"Missing named input: {key} in 'inputs' object.")
            inputs[key] = from_json(columns[key], tf.dtypes.as_dtype(info.dtype))
        outputs = {key: to_json(array) for key, array in model.run(signature, inputs).items()}
        if "inputs" in request:
            return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        return {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}

    def log_message(self, *_):
        pass


def escaped(text):
    """Escapes a message as C does, its quotes and its bytes beyond ASCII too: that is not always JSON."""
    special = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "".join(special.get(chr(byte), chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode())


def from_json(value, dtype):
    if dtype == tf.string:
        return np.array([base64.b64decode(element["b64"]) for element in value], dtype=object)
    return np.array(value, dtype.as_numpy_dtype)


def to_json(array):
    # Nine digits identify every float32.
    if array.dtype == np.float32:
        return [to_json(row) for row in array] if array.ndim else float(f"{array:.9g}")
    return array.tolist()


def metadata_json(name, version, model):
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {key: sides(s) for key, s in model.signatures.items()}}},
    }


def sides(signature):
    def infos(tensors):
        return {
            name: {
                "dtype": types_pb2.DataType.Name(info.dtype),
                "tensor_shape": {
                    "dim": [{"size": str(dim.size), "name": ""} for dim in info.tensor_shape.dim],
                    "unknown_rank": info.tensor_shape.unknown_rank,
                },
                "name": info.name,
            }
            for name, info in tensors.items()
        }

    return {"inputs": infos(signature.inputs), "outputs": infos(signature.outputs), "method_name": ""}


def hear(models, headers):
    """Appends the headers of a request, as a dict, to the list `models.heard`."""
    getattr(models, "heard", []).append({name.lower(): value for name, value in headers})


def start_grpc(models, certificate=None, limit=-1):
    """Starts a gRPC server and returns (server, port), or (None, None) where the stubs are not installed.

    With a certificate, a pair (private key, certificate) of PEM bytes, the channel is encrypted. The limit is that of
    a request, in bytes.
    """
    try:
        import grpc
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError:
        return None, None

    def guarded(answer):
        def call(self, request, context):
            spec = request.model_spec
            hear(models, context.invocation_metadata())
            try:
                return answer(request, spec.name, spec.version.value if spec.HasField("version") else None)
            except Failure as error:
                return context.abort(grpc.StatusCode[error.code], str(error))

        return call

    @guarded
    def predict(request, name, version):
        version, model = models.find(name, version)
        signature = request.model_spec.signature_name or "serving_default"
        if signature not in model.signatures:
            raise Failure("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        inputs = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for key, array in model.run(signature, inputs, list(request.output_filter)).items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(array))
        return response

    @guarded
    def metadata(request, name, version):
        version, model = models.find(name, version)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = name
        response.model_spec.version.value = version
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
        response.metadata["signature_def"].Pack(signatures)
        return response

    @guarded
    def status(request, name, version):
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, state in models.status(name, version).items():
            response.model_version_status.add(version=number, state=state)
        return response

    predictions = prediction_service_pb2_grpc.PredictionServiceServicer
    service = type("Predictions", (predictions,), {"Predict": predict, "GetModelMetadata": metadata})
    states = type("States", (model_service_pb2_grpc.ModelServiceServicer,), {"GetModelStatus": status})
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", limit)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service(), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(states(), server)
    if certificate:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([certificate]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def start_rest(models, handler=RestHandler):
    """Starts a REST server in a thread and returns (server, port)."""
    bound = type("Handler", (handler,), {"models": models})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    return server, server.server_address[1]


def main():
    models = Models(dict(argument.split("=", 1) for argument in sys.argv[1:]))
    rest, grpc = start_rest(models), start_grpc(models)
    print(json.dumps({"http": rest[1], "grpc": grpc[1]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
