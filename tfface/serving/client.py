"""A client of TensorFlow Serving, identical over REST and gRPC."""

import dataclasses
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from tfface.serving.answers import check_comparisons, check_embeddings
from tfface.serving.batches import in_batches
from tfface.serving.errors import Refused, ServerError
from tfface.serving.metadata import Metadata
from tfface.serving.remote_model import RemoteModel
from tfface.serving.rest import RestTransport

if TYPE_CHECKING:
    from tfface.serving.grpc_api import GrpcTransport

_INPUTS = {
    "serving_default": ("image_bytes",),
    "detect_free_align": ("image_bytes", "landmarks"),
    "compare": ("first_bytes", "second_bytes"),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Similarities of N pairs of faces.

    Attributes:
      similarity: float32 [N], cosines.
      same: bool [N], whether each similarity reaches the threshold; None if the model has no threshold.
      threshold: float; None if the model has none, or N = 0.
    """

    similarity: np.ndarray
    same: np.ndarray | None
    threshold: float | None


class Client:
    """Embeddings and similarities from a server; made by `connect`.

    The first request settles the version of the model, because embeddings of two versions cannot be compared. The
    client is a context manager and may be used from several threads.

    Args:
      transport: `RestTransport` or `GrpcTransport`.
      model: str, name of the model on the server.
      version: int; default: the newest.
      batch_size: int, images per request.
      concurrency: int, requests in flight at a time.
      deadline: float, seconds that a request may take, retries included.
      retries: int, largest number of retries, after growing pauses, while the server is unavailable (refused or broken
        connection, HTTP 503, gRPC UNAVAILABLE). Other failures are not retried.

    Raises:
      ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        transport: "RestTransport | GrpcTransport",
        model: str,
        version: int | None = None,
        batch_size: int = 32,
        concurrency: int = 4,
        deadline: float = 60.0,
        retries: int = 4,
    ) -> None:
        if batch_size < 1 or concurrency < 1:
            raise ValueError(f"`batch_size` and `concurrency` must be positive, got {batch_size} and {concurrency}.")
        self._remote = RemoteModel(transport, model, version, deadline, retries)
        self._batch_size, self._concurrency = batch_size, concurrency

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._remote.close()

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Waits until the server has loaded the model.

        Args:
          timeout: float, seconds.

        Raises:
          Unavailable: the time is over; the message holds the last state of the server.
          ServerError: the server does not know the model, or is not TensorFlow Serving.
        """
        self._remote.wait_until_ready(timeout)

    def metadata(self) -> Metadata:
        """Returns the `Metadata` of the version that this client uses.

        Raises:
          ServerError: the server cannot be reached, or has no such model or version.
        """
        return self._remote.metadata()

    def embed(self, images: Iterable[bytes]) -> np.ndarray:
        """Embeds aligned faces.

        Args:
          images: iterable of N bytes, JPEG or PNG files.

        Returns:
          float32 [N, D], of unit length.

        Raises:
          Refused: the server cannot decode an image; the message has its index. `embed_each` continues with the others.
          ServerError: there is no answer, or it fails a check.
        """
        return self._vectors(((image,) for image in images), "serving_default")

    def align_and_embed(self, images: Iterable[bytes], landmarks: Iterable[np.ndarray]) -> np.ndarray:
        """Aligns faces on the server and embeds them.

        Args:
          images: iterable of N bytes, JPEG or PNG files of photographs.
          landmarks: float [N, 5, 2], x and y in pixels: eyes, nose tip, corners of the mouth, left first; NaN for an
            unknown point.

        Returns:
          float32 [N, D], of unit length.

        Raises:
          Refused, ServerError: as in `embed`.
        """
        return self._vectors(zip(images, landmarks, strict=True), "detect_free_align")

    def embed_each(self, rows: Iterable[tuple], signature: str = "serving_default") -> Iterator[np.ndarray | Refused]:
        """Embeds many images, some of which may be bad, and reads them only as fast as the server answers.

        Args:
          rows: iterable of (image,), or for the signature "detect_free_align" of (image, landmarks).
          signature: str, "serving_default" or "detect_free_align".

        Yields:
          Per row, in order, float32 [D], or the `Refused` with the reason why there is none.

        Raises:
          ServerError: there is no answer, or it fails a check.
        """
        dim = self._dim(signature)

        def checked(outputs):
            check_embeddings(outputs["embedding"])

        for result in self._each(signature, rows, {"embedding": (np.float32, (dim,))}, checked):
            yield result if isinstance(result, Refused) else result["embedding"]

    def compare(self, firsts: Iterable[bytes], seconds: Iterable[bytes]) -> Comparison:
        """Compares pairs of aligned faces.

        Args:
          firsts: iterable of N bytes, JPEG or PNG files.
          seconds: iterable of N bytes, JPEG or PNG files.

        Returns:
          A `Comparison`.

        Raises:
          Refused: the server cannot decode an image; the message has the index of the pair.
          ServerError: there is no answer, or it fails a check.
        """
        known = self._outputs("compare")
        types = {"similarity": np.float32, "same": np.bool_, "threshold": np.float32}
        outputs = {name: (dtype, ()) for name, dtype in types.items() if name in known or name == "similarity"}

        def checked(outputs):
            check_comparisons(outputs["similarity"], outputs.get("same"), outputs.get("threshold"))

        pairs = zip(firsts, seconds, strict=True)
        rows = self._accepted("pair", self._each("compare", pairs, outputs, checked))
        columns = {name: np.array([row[name] for row in rows], outputs[name][0]) for name in outputs}
        threshold = float(columns["threshold"][0]) if "threshold" in columns and rows else None
        return Comparison(columns["similarity"], columns.get("same"), threshold)

    def _vectors(self, rows, signature):
        vectors = self._accepted("image", self.embed_each(rows, signature))
        return np.stack(vectors) if vectors else np.zeros([0, self._dim(signature)], np.float32)

    def _accepted(self, what, results):
        accepted = []
        for index, result in enumerate(results):
            if isinstance(result, Refused):
                raise Refused(self._remote.say(f"{what} {index}: {result}"))
            accepted.append(result)
        return accepted

    def _outputs(self, signature):
        outputs = self.metadata().outputs
        known = sorted(outputs.keys() & _INPUTS.keys())
        if signature not in known:
            raise ServerError(self._remote.say(f"no signature {signature!r} for image files, only {known}"))
        return outputs[signature]

    def _dim(self, signature):
        self._outputs(signature)
        dim = self.metadata().embedding_dim
        if dim is None:
            raise ServerError(self._remote.say("its signature 'serving_default' has no embeddings of a fixed length"))
        return dim

    def _each(self, signature, rows, outputs, check):
        """Yields per row a dict of outputs, or its `Refused`."""

        def send(batch):
            columns = zip(_INPUTS[signature], zip(*batch, strict=True), strict=True)
            inputs = {name: _column(column) for name, column in columns}
            expected = {name: (dtype, (len(batch), *shape)) for name, (dtype, shape) in outputs.items()}
            found = self._remote.predict(signature, inputs, expected, check)
            return [{name: found[name][row] for name in found} for row in range(len(batch))]

        return in_batches(send, rows, self._batch_size, self._concurrency)


def _column(values):
    return list(values) if isinstance(values[0], bytes) else np.array(values, np.float32)
