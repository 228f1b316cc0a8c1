"""Metadata of a served model: its version and the inputs and outputs of its signatures."""

import dataclasses
from typing import Any

# No embedding is longer; a server's claim must not decide how much memory is reserved.
MAX_DIM = 1 << 16


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Type and shape of an input or output.

    Attributes:
      dtype: str, such as "DT_FLOAT".
      shape: tuple of ints, -1 for any size; None if the rank is unknown.
    """

    dtype: str
    shape: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A version of a model.

    Attributes:
      version: int.
      inputs, outputs: dict from the name of a signature to a dict from name to `Tensor`.
    """

    version: int
    inputs: dict[str, dict[str, Tensor]]
    outputs: dict[str, dict[str, Tensor]]

    @property
    def embedding_dim(self) -> int | None:
        """Dimension of an embedding, or None if the model does not state it."""
        shape = self.outputs.get("serving_default", {}).get("embedding", Tensor("", None)).shape
        return shape[1] if shape and len(shape) == 2 and 0 < shape[1] <= MAX_DIM else None


def parse_metadata(answer: Any) -> Metadata:
    """Reads TensorFlow Serving's GetModelMetadataResponse as JSON.

    Args:
      answer: decoded JSON; fields with their protobuf default may be absent.

    Raises:
      ValueError: the answer has another form.
    """
    try:
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        inputs, outputs = (
            {name: _tensors(signature.get(side, {})) for name, signature in signatures.items()}
            for side in ("inputs", "outputs")
        )
        return Metadata(int(answer["model_spec"]["version"]), inputs, outputs)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"its answer is not metadata of a model ({type(error).__name__}: {error})") from None


def _tensors(infos):
    # A type or size of zero, the default of protobuf, is absent.
    return {
        name: Tensor(str(info.get("dtype", "DT_INVALID")), _shape(info.get("tensor_shape", {})))
        for name, info in infos.items()
    }


def _shape(shape):
    return None if shape.get("unknown_rank") else tuple(int(dim.get("size", 0)) for dim in shape.get("dim", []))
