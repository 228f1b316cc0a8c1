"""State dicts from networks that arcface_torch exported to ONNX.

An exporter renames tensors and folds most batch normalisations into the convolution before them, so names say little:
the weighted nodes of the graph are matched with the weighted layers of the model in the order of computation.
"""

import os

import keras
import numpy as np
from keras import layers

# Nodes with weights, and those that neither have weights nor change what their input means.
_KINDS = {
    "Conv": (layers.Conv2D, layers.DepthwiseConv2D),
    "BatchNormalization": layers.BatchNormalization,
    "PRelu": layers.PReLU,
    "Gemm": layers.Dense,
    "MatMul": layers.Dense,
}
_WEIGHTLESS = ("Add", "Flatten", "Reshape", "Identity", "Constant", "Shape", "Gather", "Unsqueeze", "Concat", "Dropout")


def read_onnx(model: keras.Model, path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the weights of a convolutional backbone.

    Args:
      model: keras.Model, the backbone whose weights these are to become.
      path: of the .onnx file.

    Returns:
      dict, name -> array, in PyTorch's names and layout.

    Raises:
      ValueError: the file is not an ONNX file, its weights are in other files, or its network is not that of `model`.
    """
    nodes = _weighted_nodes(path)
    state = {}
    folded = None
    for layer in _in_order_of_computation(model):
        if folded is not None:  # The convolution has a bias that ours lacks: the normalisation after it was folded in.
            size = len(folded)
            values = {"weight": np.ones(size), "bias": folded, "running_mean": np.zeros(size)}
            values["running_var"] = np.full(size, 1 - layer.epsilon)
            folded = None
        else:
            operation = nodes[0][0] if nodes else "no more"
            if not isinstance(layer, _KINDS.get(operation, ())):
                raise ValueError(f"another network: where the model has {layer.name}, it has {operation}.")
            values = _values(layer, *nodes.pop(0))
            if not getattr(layer, "use_bias", True):
                folded = values.pop("bias", None)
        state |= {f"{layer.name}.{name}": value for name, value in values.items()}
    if nodes:
        raise ValueError(f"another network: it has {len(nodes)} more nodes with weights.")
    return state


def _values(layer, operation, attributes, weights):
    """Names the weights of a node as PyTorch does."""
    if operation == "BatchNormalization":
        values = dict(zip(("weight", "bias", "running_mean", "running_var"), weights, strict=True))
        values["running_var"] = values["running_var"] + (attributes.get("epsilon", 1e-5) - layer.epsilon)
        return values
    if operation == "PRelu":
        return {"weight": weights[0].ravel()}
    weight, *bias = weights
    if operation in ("Gemm", "MatMul") and not attributes.get("transB", 0):
        weight = weight.T
    return dict(zip(("weight", "bias"), (weight, *bias), strict=False))


def _weighted_nodes(path):
    """Returns [operation, attributes, weights] of each node with weights, in the order of computation."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import helper, numpy_helper

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError:
        raise ValueError("not an ONNX file.") from None
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        tensors = [initializers[name] for name in node.input if name in initializers]
        if node.op_type in _WEIGHTLESS:
            continue
        if node.op_type not in _KINDS or not tensors:
            raise ValueError(f"another network: it has a node {node.op_type} that none of the backbones has.")
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            raise ValueError("its weights lie in other files.")
        weights = [numpy_helper.to_array(tensor).astype(np.float32) for tensor in tensors]
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        nodes.append([node.op_type, attributes, weights])
    return nodes


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
