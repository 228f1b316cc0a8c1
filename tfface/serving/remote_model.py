"""One model on one server: its version, its state, and requests that are retried while it is unavailable."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfface.serving.errors import Refused, ServerError, Unavailable
from tfface.serving.metadata import Metadata, parse_metadata
from tfface.serving.rest import RestTransport

if TYPE_CHECKING:
    from tfface.serving.grpc_api import GrpcTransport

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class RemoteModel:
    """A version of a model on a server. Safe to use from several threads.

    Args:
      transport: `RestTransport` or `GrpcTransport`.
      name: str, name of the model on the server.
      version: int, or None for the newest; once known it is kept.
      deadline: float, seconds that a request may take, retries included.
      retries: int, largest number of retries after `Unavailable`. Other failures are not retried.

    Raises:
      ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        transport: "RestTransport | GrpcTransport",
        name: str,
        version: int | None,
        deadline: float,
        retries: int,
    ) -> None:
        if not name or not name.isprintable() or "/" in name or ":" in name:
            raise ValueError(f"`model` must be the name of a model, without '/' and ':', got {name!r}.")
        if version is not None and not 0 <= version < 1 << 63:
            raise ValueError(f"`version` must be a version number, got {version}.")
        if not 0 < deadline < 1e6 or retries < 0:
            raise ValueError(
                f"`deadline` must be in (0, 10^6) s and `retries` at least 0, got {deadline} and {retries}."
            )
        self._transport, self._name, self._version = transport, name, version
        self._deadline, self._retries = deadline, retries
        self._metadata: Metadata | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def wait_until_ready(self, timeout: float) -> None:
        """Does the same as in `Client`."""
        end = time.monotonic() + timeout
        while True:
            try:
                states = self._states(max(end - time.monotonic(), 0.1))
                if "AVAILABLE" in states:
                    return
                seen = self.say(f"its versions are {states}")
            except Unavailable as error:
                seen = str(error)
            if time.monotonic() >= end:
                raise Unavailable(f"{seen} (waited for {timeout:.3g} s)")
            time.sleep(_FIRST_PAUSE)

    def metadata(self) -> Metadata:
        """Does the same as in `Client`."""
        with self._lock:
            if self._metadata is None:
                answer = self._repeated(self._transport.metadata, self._version)
                try:
                    self._metadata = parse_metadata(answer)
                except ValueError as error:
                    raise ServerError(self.say(str(error))) from None
            return self._metadata

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, list[bytes] | np.ndarray],
        outputs: Mapping[str, tuple[type, tuple[int, ...]]],
        check: Callable[[dict[str, np.ndarray]], object],
    ) -> dict[str, np.ndarray]:
        """Runs a signature of the version whose `metadata` is known.

        Args:
          signature, inputs, outputs: as in `RestTransport.predict`.
          check: function of the dict of outputs that raises `ServerError` if they cannot be right.

        Returns:
          Dict from name to array.

        Raises:
          Refused: the message is the server's reason alone.
          ServerError: as in `Client`.
        """

        def checked(*arguments):
            found = self._transport.predict(*arguments)
            check(found)
            return found

        return self._repeated(checked, self.metadata().version, signature, inputs, outputs)

    def say(self, reason: str) -> str:
        """Returns a message that names server and model."""
        version = "" if self._version is None else f" version {self._version}"
        return f"{self._transport.address}, model {self._name!r}{version}: {reason}"

    def _states(self, timeout):
        answer = self._once(self._transport.status, self._version, timeout)
        try:
            return [str(version["state"]) for version in answer.get("model_version_status", [])]
        except (KeyError, TypeError):
            raise ServerError(self.say("its answer is not the status of a model")) from None

    def _repeated(self, method, *arguments):
        end = time.monotonic() + self._deadline
        attempt = 0
        while True:
            try:
                return self._once(method, *arguments, max(end - time.monotonic(), 1e-3))
            except Unavailable as error:
                # A random pause, so that clients that a server turned away do not all return at once.
                pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1)
                attempt += 1
                if attempt > self._retries or time.monotonic() + pause >= end:
                    raise Unavailable(f"{error} (attempts: {attempt})") from None
            time.sleep(pause)

    def _once(self, method, *arguments):
        try:
            return method(self._name, *arguments)
        except Refused:
            raise
        except ServerError as error:
            raise type(error)(self.say(str(error))) from None
