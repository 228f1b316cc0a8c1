"""Makes a client from the address of a server."""

import os
import urllib.parse
from collections.abc import Mapping
from typing import Any

from tfface.serving.access import Access, without_secrets
from tfface.serving.client import Client
from tfface.serving.rest import RestTransport

_STUBS = "pip install grpcio && pip install --no-deps tensorflow-serving-api==<your version of TensorFlow>"


def connect(
    server: str,
    model: str,
    version: int | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    ca_file: str | os.PathLike | None = None,
    insecure_token: bool = False,
    **options: Any,
) -> Client:
    """Makes a client of TensorFlow Serving; it sends nothing before its first use.

    Args:
      server: "http://host:8501" for REST, "grpc://host:8500" for gRPC, which needs grpcio, TensorFlow and
        tensorflow-serving-api; "https://" and "grpcs://" with encryption.
      model: str, name of the model on the server.
      version: int; default: the newest.
      headers: mapping from name to value, sent with every request (over gRPC as its metadata), or None.
      token: str, sent as the header `Authorization: Bearer TOKEN`, or None.
      ca_file: PEM file of the certificate authorities to trust, for https and grpcs; default: those of the system.
      insecure_token: bool, whether headers and token may go to a host other than this one without encryption.
      **options: further arguments of `Client`.

    Returns:
      A `Client`.

    Raises:
      ValueError: the address, a header, the token or an option is malformed, or a package that gRPC needs is missing.
        No message shows a secret.
      OSError: `ca_file` cannot be read.
    """
    shown = without_secrets(server)
    try:
        url = urllib.parse.urlsplit(server)
        complete = url.hostname and url.port and not (url.query or url.fragment or "@" in url.netloc)
    except ValueError:
        complete = False
    grpc = complete and url.scheme in ("grpc", "grpcs")
    if not complete or url.scheme not in ("http", "https", "grpc", "grpcs") or (grpc and url.path.strip("/")):
        raise ValueError(
            "a server is http://host:8501, grpc://host:8500, https://host:port or grpcs://host:port, with a token or "
            f"header instead of a user and password, got {shown!r}."
        )
    access = Access(server, headers, token, ca_file, insecure_token)
    transport = _grpc_transport() if grpc else RestTransport
    return Client(transport(server.rstrip("/"), access), model, version, **options)


def _grpc_transport():
    try:
        from tfface.serving.grpc_api import GrpcTransport
    except Exception as error:  # Stubs made for another protobuf version raise errors of their own.
        raise ValueError(f"gRPC needs TensorFlow Serving's stubs: {_STUBS} ({error}).") from error
    return GrpcTransport
