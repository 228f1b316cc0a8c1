"""What a server says about a model: its version and the inputs and outputs of its signatures."""

import dataclasses

# No embedding is longer; what a server says about sizes must not decide how much memory is reserved.
MAX_DIM = 1 << 16


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Type and shape of an input or output.

    Attributes:
      dtype: str, such as "DT_FLOAT".
      shape: tuple of ints, -1 where any size is allowed; None if even the rank is unknown.
    """

    dtype: str
    shape: tuple | None


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A version of a model.

    Attributes:
      version: int.
      inputs, outputs: dict from the name of a signature to a dict from name to `Tensor`.
    """

    version: int
    inputs: dict
    outputs: dict

    @property
    def embedding_dim(self):
        """int, length of an embedding, or None if the model does not say it."""
        shape = self.outputs.get("serving_default", {}).get("embedding", Tensor("", None)).shape
        return shape[1] if shape and len(shape) == 2 and 0 < shape[1] <= MAX_DIM else None


def parse_metadata(answer):
    """Reads TensorFlow Serving's GetModelMetadataResponse as JSON.

    Args:
      answer: decoded JSON; fields with their protobuf default may be absent.

    Raises:
      ValueError: it is something else.
    """
    try:
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        inputs, outputs = (
            {name: _tensors(signature.get(side, {})) for name, signature in signatures.items()}
            for side in ("inputs", "outputs")
        )
        return Metadata(int(answer["model_spec"]["version"]), inputs, outputs)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"its answer is no metadata of a model ({type(error).__name__}: {error})") from None


def _tensors(infos):
    # Absent are a type of zero and a size of zero, the defaults of protobuf.
    return {
        name: Tensor(str(info.get("dtype", "DT_INVALID")), _shape(info.get("tensor_shape", {})))
        for name, info in infos.items()
    }


def _shape(shape):
    return None if shape.get("unknown_rank") else tuple(int(dim.get("size", 0)) for dim in shape.get("dim", []))
