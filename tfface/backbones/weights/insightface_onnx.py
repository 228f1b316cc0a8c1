"""State dicts from networks that arcface_torch exported to ONNX.

An exporter renames tensors and folds most batch normalisations into the layer before them, so names say little:
the weighted nodes of the graph are matched with the weighted layers of the model in the order of computation. What lies
between them, such as the attention of a transformer, is not compared.
"""

import os
import pathlib

import keras
import numpy as np
from keras import layers

from tfface import files
from tfface.backbones.vit import PositionEmbedding

# Nodes with weights, and those that neither have weights nor change what their input means.
_KINDS = {
    "Conv": (layers.Conv2D, layers.DepthwiseConv2D),
    "BatchNormalization": layers.BatchNormalization,
    "PRelu": layers.PReLU,
    "Gemm": layers.Dense,
    "MatMul": layers.Dense,
    "LayerNormalization": layers.LayerNormalization,
    "Add": PositionEmbedding,
}
_WEIGHTLESS = (
    *("Add", "Flatten", "Reshape", "Identity", "Constant", "Shape", "Gather", "Unsqueeze", "Squeeze", "Concat"),
    *("Dropout", "Cast", "Slice"),
    *("ReduceMean", "GlobalAveragePool", "Sigmoid", "Mul"),  # Of squeeze and excitation.
)
# Those of attention, which have numbers and sizes among their inputs.
_OF_ATTENTION = ("MatMul", "Softmax", "Transpose", "Split", "Div", "Clip", "Pow", "Sub", "Sqrt")
# Nodes that exporters put between a weight and its use. None of them makes an array larger than eight bytes a number.
_OF_CONSTANTS = ("Constant", "Identity", "Cast", "Transpose", "Reshape", "Unsqueeze", "Squeeze")
_MAX_BYTES = 2**31 - 1  # Protocol Buffers cannot be larger.


def read_onnx(model: keras.Model, path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the weights of a backbone.

    Args:
      model: keras.Model, the backbone whose weights these are to become.
      path: of the .onnx file. Files of external data, such as NAME.onnx.data, must lie in its folder.

    Returns:
      dict, name -> array, in PyTorch's names and layout.

    Raises:
      ValueError: the file is not an ONNX file, external data is missing, or its network is not that of `model`.
    """
    is_transformer = any(isinstance(layer, PositionEmbedding) for layer in model.layers)
    nodes = _weighted_nodes(pathlib.Path(path), is_transformer)
    state = {}
    shift = None  # What the layer before adds in place of a normalisation that was folded into it.
    for layer in _in_order_of_computation(model):
        operation = nodes[0][0] if nodes else "none"
        if shift is not None and _is_normalisation_of(layer, np.size(shift)):
            values, shift = _identity(layer, shift), None
        elif isinstance(layer, _KINDS.get(operation, ())):
            values = _values(layer, *nodes.pop(0))
            shift = _shift_of_folded(layer, values, nodes)
        else:
            raise ValueError(
                f"another network: the model continues with the {type(layer).__name__} {layer.name!r}, "
                f"the file with {_described(nodes)}."
            )
        state |= {f"{layer.name}.{name}".rstrip("."): value for name, value in values.items()}
    if nodes:
        raise ValueError(f"another network: the model ends, the file continues with {_described(nodes)}.")
    return state


def _described(nodes):
    """Says which nodes with weights follow."""
    shown = ", ".join(f"{operation} {list(weights[0].shape)}" for operation, _, weights in nodes[:3])
    rest = f" and {len(nodes) - 3} more nodes with weights" if len(nodes) > 3 else ""
    return (shown + rest) or "no more nodes with weights"


def _shift_of_folded(layer, values, nodes):
    """Returns the shift of the normalisation that was folded into a layer, or None if none was."""
    if not getattr(layer, "use_bias", True):
        return values.pop("bias", None)
    # A layer with a bias of its own keeps it. Only the next node can show whether the normalisation is still there.
    folded = isinstance(layer, layers.Dense) and (not nodes or nodes[0][0] != "BatchNormalization")
    return np.zeros(1) if folded else None


def _is_normalisation_of(layer, size):
    """Whether a layer normalises this number of channels; 1 is of any number."""
    return isinstance(layer, layers.BatchNormalization) and size in (1, layer.moving_mean.shape[0])


def _identity(layer, shift):
    """Returns the values at which a normalisation only adds a shift."""
    size = layer.moving_mean.shape
    return {
        "weight": np.ones(size),
        "bias": np.broadcast_to(shift, size),
        "running_mean": np.zeros(size),
        "running_var": np.full(size, 1 - layer.epsilon),
    }


def _values(layer, operation, attributes, weights):
    """Names the weights of a node as PyTorch does."""
    if operation == "BatchNormalization":
        values = dict(zip(("weight", "bias", "running_mean", "running_var"), weights, strict=True))
        values["running_var"] = values["running_var"] + (attributes.get("epsilon", 1e-5) - layer.epsilon)
        return values
    if operation == "Add":
        return {"": weights[0]}
    if operation == "LayerNormalization":
        return dict(zip(("weight", "bias"), weights, strict=False))
    if operation == "PRelu":
        return {"weight": weights[0].ravel()}
    weight, *bias = weights
    if operation in ("Gemm", "MatMul") and not attributes.get("transB", 0):
        weight = weight.T
    weight = weight * attributes.get("alpha", 1)
    bias = [each * attributes.get("beta", 1) for each in bias]
    return dict(zip(("weight", "bias"), (weight, *bias), strict=False))


def _weighted_nodes(path, is_transformer):
    """Returns [operation, attributes, weights] of each node with weights, in the order of computation."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import helper

    try:
        graph = onnx.load_from_string(files.read_regular(path, _MAX_BYTES)).graph
    except DecodeError:
        raise ValueError("not an ONNX file, or a part of one.") from None
    if not graph.node:
        raise ValueError("not an ONNX file: it has no nodes.")
    constants = {tensor.name: _array(tensor, path.parent) for tensor in graph.initializer}
    nodes, made_by = [], {}
    for node in graph.node:
        weights = [constants[name] for name in node.input if name in constants]
        if node.op_type in _OF_CONSTANTS and len(weights) == len([name for name in node.input if name]):
            constants[node.output[0]] = _evaluated(node, weights)
            continue
        if is_transformer:
            weights = [weight for weight in weights if weight.size > 1 and weight.dtype.kind == "f"]
            if not weights and node.op_type in (*_WEIGHTLESS, *_OF_ATTENTION):
                continue
        before = next((made_by[name] for name in node.input if name in made_by), None)
        if node.op_type == "Add" and weights and before and _lacks_bias(*before):
            before[2].append(weights[0].ravel().astype(np.float32))  # A bias, as a node of its own.
            continue
        operation = node.op_type
        if operation in ("Add", "Mul") and weights:
            if not is_transformer:
                raise ValueError(f"another network: it has a node {operation} with constants, which the model has not.")
            # Older exporters write a layer normalisation as many nodes, the last of which have its weights.
            operation = {"Mul": "LayerNormalization"}.get(operation, operation)
        elif operation in _WEIGHTLESS:
            continue
        if operation not in _KINDS or not weights:
            raise ValueError(f"another network: it has a node {operation}, which the model has not.")
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        made_by[node.output[0]] = [operation, attributes, [weight.astype(np.float32) for weight in weights]]
        nodes.append(made_by[node.output[0]])
    return nodes


def _lacks_bias(operation, attributes, weights):
    """Whether a node may be followed by its bias, as a node of its own."""
    return operation in ("MatMul", "Conv", "LayerNormalization") and len(weights) == 1


def _evaluated(node, inputs):
    """Computes a node whose inputs are constants."""
    from onnx.reference import ReferenceEvaluator

    try:
        names = [name for name in node.input if name]
        return np.asarray(ReferenceEvaluator(node).run(None, dict(zip(names, inputs, strict=True)))[0])
    except Exception as error:  # The evaluator's errors have no common base.
        raise ValueError(
            f"its node {node.op_type} {node.name!r} cannot be computed ({files.short_reason(error)})."
        ) from None


def _array(tensor, folder):
    """Reads a tensor, whose numbers may lie in another file of the folder."""
    import onnx
    from onnx import helper, numpy_helper

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        if name != pathlib.PurePath(name).name or name in ("", ".."):
            raise ValueError(f"its weights lie in {name!r}, which is not the name of a file in its folder.")
        if not (folder / name).is_file():
            raise ValueError(f"its weights lie in the file {name!r}, which is missing in its folder.")
        try:
            offset = int(entries.get("offset", 0))
            expected = (
                int(np.prod(tensor.dims, dtype=object)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            )
            size = int(entries.get("length", expected))
        except (ValueError, KeyError):
            raise ValueError(f"its entry of {name!r} for {tensor.name!r} is damaged.") from None
        # Checked before anything of that size is read.
        if offset < 0 or size != expected or offset + size > (folder / name).stat().st_size:
            raise ValueError(f"its file {name!r} is too short for {tensor.name!r}, or belongs to another network.")
        with open(folder / name, "rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(size)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"its tensor {tensor.name!r} is damaged ({files.short_reason(error)}).") from None


def _in_order_of_computation(model):
    """Returns the layers with weights, each after all that it depends on, branches before shortcuts."""
    producer = {id(operation.output): operation for operation in model.operations}
    ordered, stack = {}, [producer[id(model.output)]]
    while stack:
        operation = stack[-1]
        inputs = operation.input if isinstance(operation.input, list) else [operation.input]
        waiting = [producer[id(x)] for x in inputs if producer[id(x)] not in ordered]
        if waiting:
            stack.append(waiting[0])
        else:
            ordered[stack.pop()] = True
    return [operation for operation in ordered if getattr(operation, "weights", ())]
