"""TensorFlow Serving's REST API, with only the standard library and NumPy."""

import base64
import contextlib
import functools
import http.client
import json
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfface.serving.access import Access
from tfface.serving.answers import MAX_RESPONSE_BYTES, check_type
from tfface.serving.errors import Refused, ServerError, Unavailable


class RestTransport:
    """Requests to one server, each over a connection of its own; safe to use from several threads.

    Redirects and proxies of the environment are not followed: images go to the named server or nowhere.

    Args:
      address: str, such as "http://localhost:8501", or with https.
      access: `Access`.
    """

    def __init__(self, address: str, access: Access) -> None:
        self.address = address.rstrip("/")
        url = urllib.parse.urlsplit(self.address)
        self._connection: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
        if url.scheme == "https":
            self._connection = functools.partial(http.client.HTTPSConnection, context=access.tls())
        self._headers, self._quote = access.headers, access.quote
        self._open, self._closed = set(), False
        self._host, self._port, self._prefix = url.hostname, url.port, url.path

    def status(self, model: str, version: int | None, timeout: float) -> dict[str, Any]:
        """Returns the decoded GetModelStatusResponse of a model: a dict with a list `model_version_status`."""
        return self._json("GET", _path(model, version), None, timeout)

    def metadata(self, model: str, version: int | None, timeout: float) -> dict[str, Any]:
        """Returns the decoded GetModelMetadataResponse of a model."""
        return self._json("GET", f"{_path(model, version)}/metadata", None, timeout)

    def predict(
        self,
        model: str,
        version: int,
        signature: str,
        inputs: Mapping[str, list[bytes] | np.ndarray],
        outputs: Mapping[str, tuple[type, tuple[int, ...]]],
        timeout: float,
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          model, version: str and int.
          signature: str, name of the signature.
          inputs: dict from name to list of bytes or float array.
          outputs: dict from name to (dtype, shape) of the expected outputs.
          timeout: float, seconds.

        Returns:
          Dict from name to array.

        Raises:
          Unavailable: the server does not answer now.
          Refused: the server refuses an image or landmarks.
          ServerError: the request failed, or the answer has another form.
        """
        columns = {
            name: column.tolist()
            if isinstance(column, np.ndarray)
            else [{"b64": base64.b64encode(data).decode()} for data in column]
            for name, column in inputs.items()
        }
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        answer = self._json("POST", f"{_path(model, version)}:predict", body, timeout)
        found = answer.get("outputs")
        # TensorFlow Serving leaves out the name of a signature's only output.
        found = found if isinstance(found, dict) else dict.fromkeys(outputs, found) if len(outputs) == 1 else {}
        return {name: _array(name, found.get(name), *expected) for name, expected in outputs.items()}

    def close(self) -> None:
        """Ends the requests in flight and refuses new ones."""
        self._closed = True
        for sock in self._open.copy():
            _wake(sock)

    def _json(self, method, path, body, timeout):
        status, data = self._exchange(method, self._prefix + path, body, timeout)
        if status == 200:
            return self._object(data)
        # Only a POST sends images that can be refused. 413 comes from proxies, which may let fewer images pass.
        refusal = Refused if method == "POST" else ServerError
        kind = {400: refusal, 413: refusal, 503: Unavailable}.get(status, ServerError)
        raise kind(f"{self._quote(_message(data))} (HTTP status {status})")

    def _exchange(self, method, path, body, timeout):
        """Returns status and body of a response; the timeout bounds the whole exchange."""
        deadline = time.monotonic() + timeout
        connection = self._connection(self._host, self._port, timeout=timeout)
        late = threading.Event()

        def give_up(sock):
            late.set()
            _wake(sock)

        try:
            connection.connect()
            self._open.add(connection.sock)
            if self._closed:
                raise ServerError("the client is closed")
            watch = threading.Timer(max(deadline - time.monotonic(), 0), give_up, [connection.sock])
            watch.daemon = True
            watch.start()
            try:
                content = {"Content-Type": "application/json"} if body is not None else {}
                connection.request(method, path, body, {**self._headers, **content})
                response = connection.getresponse()
                data = response.read(MAX_RESPONSE_BYTES + 1)
            finally:
                watch.cancel()
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise ServerError(f"no answer within {timeout:.3g} s") from None
            if isinstance(error, ConnectionError):
                raise Unavailable(f"{error.strerror or error}") from None
            if isinstance(error, http.client.HTTPException):
                raise ServerError(f"its answer is not HTTP: {self._quote(str(error))}") from None
            raise ServerError(str(error.strerror or error)) from None
        finally:
            self._open.discard(connection.sock)
            connection.close()
        if late.is_set():
            raise ServerError(f"no answer within {timeout:.3g} s")
        if len(data) > MAX_RESPONSE_BYTES:
            raise ServerError(f"its answer is larger than {MAX_RESPONSE_BYTES >> 20} MB")
        return response.status, data

    def _object(self, data):
        # Not `tfface.json_files`, which refuses NaN: the checks of the outputs can say which of them holds it.
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            text = self._quote(data[:20_000].decode(errors="replace"))
            raise ServerError(f"its answer is not a JSON object: {text[:100]}")
        return answer


def _wake(sock):
    """Wakes a thread that waits at a socket, whose own timeout starts again with every byte."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _path(model, version):
    path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def _message(data):
    data = data[:20_000]
    try:
        return str(json.loads(data)["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        # TensorFlow Serving escapes as C does, with quotes and octal bytes that are not valid JSON.
        found = re.search(rb'"error"\s*:\s*"(.*)"', data, re.DOTALL)
        if not found:
            return data.decode(errors="replace")
        return found[1].decode("unicode_escape", "replace").encode("latin-1", "replace").decode(errors="replace")


def _array(name, value, dtype, shape):
    try:
        array = np.array(value)
    except ValueError:
        array = np.array(None)  # Rows of several lengths.
    if array.dtype.kind in "iuf" and dtype != np.bool_:
        with np.errstate(over="ignore"):
            array = array.astype(dtype)
    if array.shape == (0,) and shape[0] == 0:
        # Brackets around nothing tell neither type nor rank.
        array = np.zeros(shape, dtype)
    check_type(name, array.dtype, array.shape, dtype, shape)
    return array
