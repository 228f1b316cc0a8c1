"""From the address of a server to a client."""

import urllib.parse

from tfface.serving.client import Client
from tfface.serving.rest import RestTransport

_STUBS = "pip install grpcio && pip install --no-deps tensorflow-serving-api==<your version of TensorFlow>"


def connect(server, model, version=None, **options):
    """Makes a client of TensorFlow Serving; nothing is sent before its first use.

    Args:
      server: "http://host:8501" or https for REST, "grpc://host:8500" for gRPC, which needs grpcio, TensorFlow and
        tensorflow-serving-api.
      model: str, the name under which the server has the model.
      version: int; default: the newest.
      **options: of `Client`.

    Returns:
      A `Client`.

    Raises:
      ValueError: the address or an option is malformed, or what gRPC needs is not installed.
    """
    return Client(_transport(server), model, version, **options)


def _transport(server):
    try:
        url = urllib.parse.urlsplit(server)
        complete = url.hostname and url.port and not (url.query or url.fragment or url.username)
    except ValueError:
        complete = False
    if not complete or url.scheme not in ("http", "https", "grpc") or (url.scheme == "grpc" and url.path.strip("/")):
        raise ValueError(f"a server is http://host:8501, https://host:port or grpc://host:8500, got {server!r}.")
    if url.scheme != "grpc":
        return RestTransport(server.rstrip("/"))
    try:
        from tfface.serving.grpc_api import GrpcTransport
    except Exception as error:  # Stubs for another protobuf fail in errors of their own.
        raise ValueError(f"{server} needs TensorFlow Serving's stubs: {_STUBS} ({error}).") from error
    return GrpcTransport(server.rstrip("/"))
