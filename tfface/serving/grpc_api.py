"""TensorFlow Serving's gRPC API through its official stubs, which import TensorFlow."""

import re
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfface.serving.access import Access
from tfface.serving.answers import MAX_RESPONSE_BYTES, check_type
from tfface.serving.errors import Refused, ServerError, Unavailable

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_send_message_length", -1),
    # Only the client retries, so that its count is right; no proxy of the environment sees images.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # A refused connection is tried again as soon as the client asks, not only after seconds.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class GrpcTransport:
    """Requests to one server over one channel; safe to use from several threads.

    The methods are those of `RestTransport`.

    Args:
      address: str, such as "grpc://localhost:8500", or with grpcs for an encrypted channel.
      access: `Access`.
    """

    def __init__(self, address: str, access: Access) -> None:
        self.address, self._quote = address, access.quote
        # gRPC takes only lower-case names of metadata.
        self._metadata = [(name.lower(), value) for name, value in access.headers.items()]
        scheme, _, target = address.partition("://")
        if scheme == "grpcs":
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(access.ca), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, _OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def status(self, model: str, version: int | None, timeout: float) -> dict[str, Any]:
        """Does the same as in `RestTransport`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _set_model(request, model, version)
        return self._to_json(self._call(self._models.GetModelStatus, request, timeout))

    def metadata(self, model: str, version: int | None, timeout: float) -> dict[str, Any]:
        """Does the same as in `RestTransport`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _set_model(request, model, version)
        return self._to_json(self._call(self._predictions.GetModelMetadata, request, timeout))

    def predict(
        self,
        model: str,
        version: int,
        signature: str,
        inputs: Mapping[str, list[bytes] | np.ndarray],
        outputs: Mapping[str, tuple[type, tuple[int, ...]]],
        timeout: float,
    ) -> dict[str, np.ndarray]:
        """Does the same as in `RestTransport`."""
        tensors = {name: _tensor(column) for name, column in inputs.items()}
        request = predict_pb2.PredictRequest(inputs=tensors, output_filter=list(outputs))
        _set_model(request, model, version)
        request.model_spec.signature_name = signature
        found = self._call(self._predictions.Predict, request, timeout, invalid=Refused).outputs
        # A protobuf map would return an empty tensor for a missing name.
        return {name: self._array(name, dict(found).get(name), *expected) for name, expected in outputs.items()}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _call(self, method, request, timeout, invalid=ServerError):
        try:
            return method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code().name
            if code == "DEADLINE_EXCEEDED":
                raise ServerError(f"no answer within {timeout:.3g} s") from None
            reason = self._quote(error.details() or "")
            # Servers take messages of 4 MB at most unless told otherwise; fewer images may pass.
            too_large = code == "RESOURCE_EXHAUSTED" and re.search(
                r"larger than max|exceeds max", reason, re.IGNORECASE
            )
            kind = (
                invalid
                if too_large
                else {"UNAVAILABLE": Unavailable, "INVALID_ARGUMENT": invalid}.get(code, ServerError)
            )
            raise kind(f"{reason} (gRPC status {code})") from None

    def _to_json(self, message):
        # TensorFlow Serving's REST API converts the same message in the same way.
        try:
            return MessageToDict(message, preserving_proto_field_name=True)
        except Exception as error:  # An answer may claim any message type; protobuf's errors have no common base.
            raise ServerError(f"its answer cannot be read ({self._quote(str(error))})") from None

    def _array(self, name, tensor, dtype, shape):
        if tensor is None:
            raise ServerError(f"its answer has no output {name!r}")
        types = {types_pb2.DT_FLOAT: np.dtype(np.float32), types_pb2.DT_BOOL: np.dtype(np.bool_)}
        found = types.get(tensor.dtype, f"DataType {tensor.dtype}")
        # Checked before the array is made, because a tensor of one value may claim any shape.
        check_type(name, found, [dim.size for dim in tensor.tensor_shape.dim], dtype, shape)
        try:
            return tf.make_ndarray(tensor)
        except (ValueError, TypeError, IndexError) as error:
            raise ServerError(f"output {name!r} cannot be read ({self._quote(str(error))})") from None


def _set_model(request, model, version):
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version


def _tensor(column):
    dtype = types_pb2.DT_FLOAT if isinstance(column, np.ndarray) else types_pb2.DT_STRING
    shape = column.shape if isinstance(column, np.ndarray) else [len(column)]
    tensor = tensor_pb2.TensorProto(
        dtype=dtype,
        tensor_shape=tensor_shape_pb2.TensorShapeProto(
            dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
        ),
    )
    if isinstance(column, np.ndarray):
        tensor.tensor_content = column.astype("<f4").tobytes()
    else:
        tensor.string_val.extend(column)
    return tensor
